# shellcheck shell=bash
# What setup-vps.sh and deploy.sh share. Every path begins with $ROOT, which is empty on a server and a scratch
# folder in the tests.

ROOT=${PICKMYCLASS_ROOT:-}
BASE=$ROOT/opt/pickmyclass
# shellcheck disable=SC2034 # used by deploy.sh
RELEASES=$BASE/releases
ETC=$ROOT/etc/pickmyclass
# shellcheck disable=SC2034 # used by both
ENV_FILE=$ETC/pickmyclass.env
SERVICE_USER=pickmyclass
UNITS=(pickmyclass-functions.service pickmyclass-consumer.service pickmyclass-up.service pickmyclass.target)
DRY_RUN=no
CHANGED=no

say() { printf '%s\n' "$*" || true; } # a full disk under the log is no reason to stop in the middle

die() { # die MESSAGE [STATUS]
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit "${2:-1}"
}

run() { # run COMMAND...: does it, or says that it would
    if [[ $DRY_RUN == yes ]]; then
        say "would run: $*"
    else
        "$@"
    fi
}

as_service_user() { # as_service_user COMMAND...: no secret of root's environment goes along
    runuser -u "$SERVICE_USER" -- env -i HOME="$ROOT/var/lib/pickmyclass" PATH="$PATH" LANG=C.UTF-8 "$@"
}

put() { # put FILE MODE OWNER < CONTENT: writes it at once or not at all; CHANGED tells whether anything was to do
    local file=$1 mode=$2 owner=$3 new
    new=$(mktemp)
    cat >"$new"
    if [[ -f $file ]] && cmp -s "$new" "$file"; then
        CHANGED=no
    else
        CHANGED=yes
        if [[ $DRY_RUN == yes ]]; then
            say "would write: $file"
        else
            install -D -m "$mode" "$new" "$file.new"
            chown "$owner" "$file.new"
            mv -f "$file.new" "$file"
            say "wrote: $file"
        fi
    fi
    rm -f "$new"
}

put_folder() { # put_folder FOLDER MODE OWNER
    [[ -d $1 ]] && return
    run install -d -m "$2" "$1"
    run chown "$3" "$1"
}

install_units() { # install_units FOLDER: until the first deployment makes them links to those of the current release
    local unit any=no
    for unit in "${UNITS[@]}"; do
        [[ ! -L $ROOT/etc/systemd/system/$unit ]] || continue
        put "$ROOT/etc/systemd/system/$unit" 0644 root:root <"$1/deploy/systemd/$unit"
        [[ $CHANGED == no ]] || any=yes
    done
    [[ $any == no ]] || run systemctl daemon-reload
}
