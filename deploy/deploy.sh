#!/usr/bin/env bash
# Brings a release into service, and the one before back when its health says so. Run it as root.
#
# Status: 0 deployed, or nothing to do; 1 failed before anything was switched; 2 wrong arguments;
# 3 the release did not do and the one before serves again; 4 neither does.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/lib.sh
source "$here/lib.sh"

REPO=$BASE/repo
REF=
ROLL_BACK=no
DUMP=yes
MIGRATE=yes
FORCE=no
KEEP_RELEASES=4
KEEP_DUMPS=10
SETTLE_SECONDS=90
BACKUPS=$ROOT/var/backups/pickmyclass
CURRENT=$BASE/current
previous=
release=
building=
switched=no
before=

usage() {
    cat <<'USAGE'
usage: deploy.sh [--ref REF] [--rollback] [--force] [--no-dump] [--no-migrate] [--settle SECONDS] [--dry-run]

  --ref REF       branch, tag or commit to deploy (default: the branch that the clone has from its origin)
  --rollback      switch to the release before the current one; the database stays as it is
  --force         deploy again what is already in service
  --no-dump       migrate without a dump of the database
  --no-migrate    leave the database alone
  --settle N      how long the new release may take to be no worse than the old one (90)
  --dry-run       say what would be done, and do nothing
USAGE
}

main() {
    read_arguments "$@"
    [[ -n $ROOT || $DRY_RUN == yes || $(id -u) == 0 ]] || die "run this as root (sudo)"
    if [[ $DRY_RUN == no ]]; then
        [[ -f $ENV_FILE ]] || die "$ENV_FILE is missing: run setup-vps.sh first"
        exec 9>"$BASE/.deploy.lock"
        flock -n 9 || die "another deployment is running"
        trap leave EXIT
        trap 'exit 130' HUP INT TERM
    fi

    [[ ! -L $CURRENT ]] || previous=$(readlink -f "$CURRENT")
    if [[ $ROLL_BACK == yes ]]; then
        release=$(release_before "$previous")
        [[ -n $release ]] || die "there is no release before the current one"
    else
        fetch_and_build
    fi
    if [[ $DRY_RUN == yes ]]; then
        say "would do: snapshot of the health, dump, migrate, switch $CURRENT, restart, wait for the health"
        return
    fi
    check_caddyfile
    before=$(mktemp)
    python "$release" deploy/health.py snapshot "$before"
    [[ $ROLL_BACK == yes ]] || dump_and_migrate
    switch_and_prove
    prune
    say "In service: ${release##*/}"
}

read_arguments() {
    while [[ $# -gt 0 ]]; do
        case $1 in
        --ref) REF=${2:-} && shift ;;
        --rollback) ROLL_BACK=yes ;;
        --force) FORCE=yes ;;
        --no-dump) DUMP=no ;;
        --no-migrate) MIGRATE=no ;;
        --settle) SETTLE_SECONDS=${2:-} && shift ;;
        --dry-run) DRY_RUN=yes ;;
        -h | --help) usage && exit 0 ;;
        *) usage >&2 && die "unknown argument: $1" 2 ;;
        esac
        shift || break
    done
    [[ $SETTLE_SECONDS =~ ^[0-9]+$ ]] || die "--settle needs a number of seconds" 2
}

python() { # python RELEASE FILE ARGUMENT...: a script of that release, as root, with no settings but the file's
    env -i PATH="$PATH" PYTHONDONTWRITEBYTECODE=1 "$1/.venv/bin/python" "$1/$2" "${@:3}"
}

fetch_and_build() {
    local commit
    run git -C "$REPO" fetch --quiet --tags --prune origin
    commit=$(resolve "${REF:-$(git -C "$REPO" rev-parse --abbrev-ref origin/HEAD)}")
    if [[ $FORCE == no && -n $previous && ${previous##*-} == "${commit:0:12}" ]]; then
        say "Nothing to do: ${previous##*/} is in service."
        exit 0
    fi
    release=$RELEASES/$(date -u +%Y%m%dT%H%M%S.%3NZ)-${commit:0:12}
    if [[ $DRY_RUN == yes ]]; then
        say "would build: $release"
        return
    fi
    git -C "$REPO" checkout --quiet --detach "$commit" # the scripts of the next run are those of this release
    building=$release
    build "$commit"
    building=
}

resolve() { # resolve REF: a branch of origin before a local name
    git -C "$REPO" rev-parse --quiet --verify "origin/$1^{commit}" ||
        git -C "$REPO" rev-parse --quiet --verify "$1^{commit}" || die "there is no branch, tag or commit $1"
}

build() { # build COMMIT: made by the service's user, who may change nothing of it afterwards
    say "Building ${release##*/} …"
    mkdir "$release"
    git -C "$REPO" archive "$1" | tar -x -C "$release"
    ln -s "$ENV_FILE" "$release/.env"
    chown -R "$SERVICE_USER:$SERVICE_USER" "$release"
    as_service_user "$release/run.sh" --help >/dev/null
    as_service_user "$release/.venv/bin/python" -m compileall -q "$release/shared" "$release/functions" >/dev/null
    chown -R root:root "$release"
}

check_caddyfile() {
    # Before the switch: a wrong setting must not be found out by a Caddy that does not start.
    command -v caddy >/dev/null || return 0
    local environment
    environment=$(python "$release" deploy/caddy_env.py "$(caddy version)") || die "the settings do not do for Caddy"
    put "$ETC/caddy.env.new" 0644 root:root <<<"$environment" >/dev/null
    (
        set -a
        # shellcheck source=/dev/null
        source "$ETC/caddy.env.new"
        caddy validate --config "$release/Caddyfile" --adapter caddyfile
    ) >"$ETC/caddy.check" 2>&1 || die "the Caddyfile is not valid, see $ETC/caddy.check"
    rm -f "$ETC/caddy.env.new" "$ETC/caddy.check"
}

dump_and_migrate() {
    [[ $MIGRATE == yes ]] || return 0
    if [[ $DUMP == yes ]]; then
        local file
        file=$BACKUPS/before-${release##*/}.dump
        python "$release" deploy/dump.py "$file" || die "no dump, no migration (--no-dump goes without)"
        say "Dumped: $file"
    fi
    as_service_user "$release/run.sh" migrate || die "the migration failed; the release before stays in service"
}

switch_and_prove() {
    switched=yes
    put_in_service "$release"
    if ! python "$release" deploy/health.py wait "$before" "$SETTLE_SECONDS"; then
        say "${release##*/} is not in good health."
        exit 1
    fi
    switched=no
}

put_in_service() { # put_in_service RELEASE: link, units, Caddy, restart with drain
    ln -sfn "$1" "$CURRENT.new"
    mv -Tf "$CURRENT.new" "$CURRENT"
    install_units "$1"
    install_caddyfile "$1"
    systemctl restart pickmyclass-functions.service pickmyclass-consumer.service
}

install_caddyfile() { # Caddy is restarted only for a change: it takes a moment from the site
    command -v caddy >/dev/null || return 0
    local environment any
    environment=$(python "$1" deploy/caddy_env.py "$(caddy version)")
    put "$ETC/caddy.env" 0644 root:root <<<"$environment"
    any=$CHANGED
    put "$ROOT/etc/caddy/Caddyfile" 0644 root:root <"$1/Caddyfile"
    [[ $CHANGED == no && $any == no ]] || systemctl restart caddy
}

leave() { # on every way out: what was begun and not proven is taken back
    local status=$?
    trap - EXIT
    [[ -z $before ]] || rm -f "$before"
    [[ -z $building ]] || rm -rf "$building"
    [[ $switched == yes ]] || exit "$status"
    if [[ -z $previous || $previous == "$release" ]]; then
        say "There is no release before it to go back to: it stays, see journalctl -u 'pickmyclass-*'."
        exit 4
    fi
    say "Going back to ${previous##*/} …"
    if put_in_service "$previous" && python "$previous" deploy/health.py ready; then
        say "${previous##*/} serves again. The database keeps the new migrations: they only add."
        exit 3
    fi
    say "${previous##*/} does not serve either: journalctl -u 'pickmyclass-*'"
    exit 4
}

release_before() { # release_before RELEASE: the newest one older than it
    find "$RELEASES" -mindepth 1 -maxdepth 1 -type d | sort | awk -F/ -v it="${1##*/}" '$NF < it' | tail -n 1
}

prune() {
    find "$RELEASES" -mindepth 1 -maxdepth 1 -type d | sort | head -n "-$KEEP_RELEASES" |
        { grep -vxF -e "$release" -e "${previous:-$release}" || true; } | xargs -r rm -rf --
    find "$BACKUPS" -maxdepth 1 -name 'before-*.dump' | sort | head -n "-$KEEP_DUMPS" | xargs -r rm -f --
}

main "$@"
