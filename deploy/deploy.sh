#!/usr/bin/env bash
# Brings a release into service, and the one before back when its health says so. Run it as root.
#
# One link decides what serves: /opt/pickmyclass/current. Units, Caddyfile and Caddy's environment are reached through
# it. A release is proven once it has served in good health: .proven in it then holds the name of the one before it.
# While another is tried, `trial` leads to it and `before` to the proven one. Whoever finds `trial` with nobody
# deploying goes back: the end of the deployment's own unit, the next run, or the boot. Going back needs no room on
# the disk. The copy of this script that works is the proven release's, never that of the release on trial.
#
# Status: 0 deployed, or nothing to do; 1 failed before anything was switched; 2 wrong arguments;
# 3 the release did not do and the one before serves again; 4 neither does.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=deploy/lib.sh
source "$here/lib.sh"

REPO=$BASE/repo
CURRENT=$BASE/current
BEFORE=$BASE/before
TRIAL=$BASE/trial
BACKUPS=$ROOT/var/backups/pickmyclass
UNIT=pickmyclass-deploy
KEEP_RELEASES=4
KEEP_DUMPS=10
REF=
ROLL_BACK=no
RECOVER=no
BOOTING=no
INSIDE=no
DUMP=yes
MIGRATE=yes
FORCE=no
SETTLE_SECONDS=45 # a new consumer has beaten, and been seen
HOLD_SECONDS=70
previous=
release=
building=
switched=no
snapshot=

usage() {
    cat <<'USAGE'
usage: deploy.sh [--ref REF] [--rollback] [--force] [--no-dump] [--no-migrate] [--settle N] [--hold N] [--dry-run]

  --ref REF       branch, tag or commit to deploy (default: the branch that the clone has from its origin)
  --rollback      switch to the proven release before the current one; the database stays as it is
  --force         deploy again what is already in service
  --no-dump       migrate without a dump of the database
  --no-migrate    leave the database alone
  --settle N      in how many seconds the new release must be no worse than the old one (45)
  --hold N        for how many seconds it must then stay so, to be proven (70)
  --dry-run       say what would be done, and do nothing
  --recover       only take back what an earlier deployment left in the middle
USAGE
}

main() {
    read_arguments "$@"
    [[ -n $ROOT || $DRY_RUN == yes || $(id -u) == 0 ]] || die "run this as root (sudo)"
    hand_over "$@"
    if [[ $DRY_RUN == no ]]; then
        [[ -f $ENV_FILE ]] || die "$ENV_FILE is missing: run setup-vps.sh first"
        [[ $RECOVER == yes || $INSIDE == yes ]] || in_a_unit "$@"
        alone
    fi
    if [[ $RECOVER == no ]]; then deploy; fi
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
        --hold) HOLD_SECONDS=${2:-} && shift ;;
        --dry-run) DRY_RUN=yes ;;
        --recover) RECOVER=yes ;;
        --boot) BOOTING=yes ;;  # with --recover: nothing runs yet, so there is nothing to restart
        --inside) INSIDE=yes ;; # already in its unit
        -h | --help) usage && exit 0 ;;
        *) usage >&2 && die "unknown argument: $1" 2 ;;
        esac
        shift || break
    done
    [[ $SETTLE_SECONDS =~ ^[0-9]+$ ]] || die "--settle needs a number of seconds" 2
    [[ $HOLD_SECONDS =~ ^[0-9]+$ ]] || die "--hold needs a number of seconds" 2
}

hand_over() { # the clone's copy is only for a server without a proven release
    local proven=$CURRENT
    [[ ! -L $TRIAL || ! -L $BEFORE ]] || proven=$BEFORE
    proven=$(readlink -f "$proven") || return 0
    [[ $here != "$REPO/deploy" || ! -e $proven/.proven ]] || exec "$proven/deploy/deploy.sh" "$@"
}

in_a_unit() { # once more, in a unit of its own: that outlives a lost terminal, and goes back when it was killed
    local log follower job interrupted=no status=0
    mkdir -p "$ROOT/run/pickmyclass"
    log=$(mktemp "$ROOT/run/pickmyclass/deploy.XXXXXX")
    systemd-run --quiet --collect --wait --unit="$UNIT" --service-type=exec \
        --property=KillMode=mixed --property=TimeoutStopSec=180 --property="StandardOutput=append:$log" \
        --property=StandardError=inherit --setenv=HOME=/root --property="ExecStopPost=$here/deploy.sh --recover" \
        "$here/deploy.sh" --inside "$@" &
    job=$!
    tail -q -n +1 -s 0.2 -f --pid="$job" "$log" &
    follower=$!
    trap 'interrupted=yes; systemctl stop "$UNIT"' INT TERM
    wait "$job" || status=$?
    if [[ $interrupted == yes ]]; then status=0 && wait "$job" || status=$?; fi
    wait "$follower" || true
    rm -f "$log"
    exit "$status"
}

alone() { # one at a time; what an earlier one left in the middle is taken back first
    exec 9>"$BASE/.deploy.lock"
    flock -w "$([[ $RECOVER == yes ]] && echo 3 || echo 0)" 9 || die "another deployment is running"
    trap '' HUP
    trap leave EXIT
    trap 'exit 130' INT TERM
    [[ -L $TRIAL ]] || return 0
    say "A deployment was cut off in the middle."
    go_back || say "It does not serve: journalctl -u 'pickmyclass-*'"
}

deploy() {
    [[ ! -L $CURRENT ]] || previous=$(readlink -f "$CURRENT")
    if [[ $ROLL_BACK == yes ]]; then
        release=$(release_before "$previous")
        [[ -n $release ]] || die "there is no proven release before the current one"
    else
        fetch_and_build
    fi
    if [[ $DRY_RUN == yes ]]; then
        say "would do: snapshot of the health, dump, migrate, switch $CURRENT, restart, wait for the health"
        return
    fi
    check_tool
    check_caddyfile
    check_balancer
    snapshot=$(mktemp)
    tool deploy/health.py snapshot "$snapshot"
    [[ $ROLL_BACK == yes ]] || dump_and_migrate
    switch_and_prove
    prune
    say "In service: ${release##*/}"
}

python() { # python RELEASE FILE ARGUMENT...: a script of that release, as root, with no settings but the file's
    env -i PATH="$PATH" PYTHONDONTWRITEBYTECODE=1 "$1/.venv/bin/python" "$1/$2" "${@:3}"
}

tool() { # tool FILE ARGUMENT...: a script of the release that this one is part of; of the new one at the first time
    local whose=${here%/deploy}
    [[ -x $whose/.venv/bin/python && $whose != "$REPO" ]] || whose=$release
    python "$whose" "$@"
}

fetch_and_build() {
    local commit
    run git -C "$REPO" fetch --quiet --tags --prune origin
    commit=$(resolve "${REF:-$(git -C "$REPO" rev-parse --abbrev-ref origin/HEAD)}")
    if [[ $FORCE == no && -n $previous && -e $previous/.proven && ${previous##*-} == "${commit:0:12}" ]]; then
        say "Nothing to do: ${previous##*/} is in service."
        exit 0
    fi
    release=$RELEASES/$(date -u +%Y%m%dT%H%M%S.%3NZ)-${commit:0:12}
    if [[ $DRY_RUN == yes ]]; then
        say "would build: $release"
        return
    fi
    prune # what an earlier, failed deployment left to be looked at makes room
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
    { [[ ! -e $previous/.proven ]] || echo "${previous##*/}"; } >"$release/.before"
}

check_tool() {
    # Once proven, the release's own copy of this script is in charge: one that cannot even plan would end all deploying.
    timeout 60 "$release/deploy/deploy.sh" --dry-run --force </dev/null 2>&1 | grep '^would build' >/dev/null ||
        die "its deploy.sh does not work, so it could never be replaced"
}

check_caddyfile() {
    # Before the switch: a wrong setting must not be found out by a Caddy that does not start.
    command -v caddy >/dev/null || return 0
    python "$release" deploy/caddy_env.py "$(caddy version)" >"$release/caddy.env.new" ||
        die "the settings do not do for Caddy"
    (
        set -a
        # shellcheck source=/dev/null
        source "$release/caddy.env.new"
        caddy validate --config "$release/Caddyfile" --adapter caddyfile
    ) >"$release/caddy.check" 2>&1 || die "the Caddyfile is not valid, see $release/caddy.check"
    mv -f "$release/caddy.env.new" "$release/caddy.env"
}

check_balancer() {
    # Only with UPSTREAMS: then there is something to check, and HAProxy to check it.
    python "$release" deploy/balancer.py >"$release/haproxy.new" || die "the settings do not do for HAProxy"
    if [[ -s $release/haproxy.new ]]; then
        command -v haproxy >/dev/null || die "UPSTREAMS needs HAProxy: apt-get install haproxy"
        haproxy -c -f "$release/haproxy.new" >"$release/haproxy.check" 2>&1 ||
            die "HAProxy's configuration is not valid, see $release/haproxy.check"
    fi
    mv -f "$release/haproxy.new" "$release/haproxy.cfg"
}

dump_and_migrate() {
    [[ $MIGRATE == yes ]] || return 0
    if [[ $DUMP == yes ]]; then
        local file
        file=$BACKUPS/before-${release##*/}.dump
        tool deploy/dump.py "$file" || die "no dump, no migration (--no-dump goes without)"
        say "Dumped: $file"
    fi
    as_service_user "$release/run.sh" migrate || die "the migration failed; the release before stays in service"
}

switch_and_prove() {
    sync -f "$release" # a power loss must not leave a proven release with empty files
    if [[ -e $previous/.proven ]]; then
        ln -sfn "$previous" "$BEFORE"
        ln -sfn "$release" "$TRIAL"
    fi
    switched=yes
    link "$release" "$CURRENT"
    follow_link "$previous"
    tool deploy/health.py wait "$snapshot" "$SETTLE_SECONDS" "$HOLD_SECONDS" ||
        { say "${release##*/} is not in good health." && exit 1; }
    [[ -e $release/.proven ]] || mv "$release/.before" "$release/.proven"
    switched=no
    rm -f "$TRIAL" # from here on the new one is the proven one
    rm -f "$BEFORE"
    [[ $ROLL_BACK == no ]] || rm -f "$previous/.proven" # the operator went back from it: it counts no longer
}

link() { # link TARGET PLACE: at once
    [[ $(readlink "$2") != "$1" ]] || return 0
    mkdir -p "${2%/*}"
    ln -sfn "$1" "$2.new"
    mv -Tf "$2.new" "$2"
}

follow_link() { # follow_link OTHER: units, Caddy and processes become those of the current release, after those of OTHER
    local unit now
    now=$(readlink -f "$CURRENT")
    for unit in "${UNITS[@]}"; do link "$CURRENT/deploy/systemd/$unit" "$ROOT/etc/systemd/system/$unit"; done
    diff -rq "$1/deploy/systemd" "$now/deploy/systemd" >/dev/null 2>&1 || systemctl daemon-reload
    if command -v caddy >/dev/null; then
        link "$CURRENT/Caddyfile" "$ROOT/etc/caddy/Caddyfile"
        link "$CURRENT/caddy.env" "$ETC/caddy.env"
        # Caddy is restarted only for a change: it takes a moment from the site
        { cmp -s "$1/Caddyfile" "$now/Caddyfile" && cmp -s "$1/caddy.env" "$now/caddy.env"; } || systemctl restart caddy
    fi
    follow_balancer "$1/haproxy.cfg" "$now/haproxy.cfg"
    systemctl restart pickmyclass-functions.service pickmyclass-consumer.service
    systemctl start pickmyclass.target
}

follow_balancer() { # follow_balancer BEFORE NOW: HAProxy balances as the current release says, or not at all
    local place=$ROOT/etc/haproxy/haproxy.cfg
    if [[ -s $2 ]]; then
        link "$CURRENT/haproxy.cfg" "$place"
        cmp -s "$1" "$2" || systemctl restart haproxy
        systemctl enable --quiet haproxy
    elif [[ -s $1 ]]; then
        systemctl disable --quiet --now haproxy
    fi
}

go_back() { # from the release on trial to the one before; false when that is not ready either
    local tried
    tried=$(readlink "$TRIAL")
    [[ ! -L $BEFORE ]] || mv -Tf "$BEFORE" "$CURRENT"
    release=$(readlink -f "$CURRENT")
    say "Going back to ${release##*/} …"
    if [[ $BOOTING == yes ]]; then
        systemctl daemon-reload
    else
        follow_link "$tried" || true
        tool deploy/health.py ready || { rm -f "$TRIAL" && return 1; }
    fi
    rm -f "$TRIAL"
    say "${release##*/} serves again. The database keeps the new migrations: they only add."
}

leave() { # on every way out: what was begun and not proven is taken back
    local status=$?
    trap - EXIT
    trap '' INT TERM
    [[ -z $snapshot ]] || rm -f "$snapshot"
    [[ -z $building ]] || rm -rf "$building"
    if [[ $switched == no ]]; then # a tool's own status would say something else here
        [[ $status == 0 || $status == 130 ]] || status=1
        exit "$status"
    fi
    if [[ ! -L $TRIAL ]]; then
        say "There is no release before it to go back to: it stays, see journalctl -u 'pickmyclass-*'."
        exit 4
    fi
    if go_back; then exit 3; fi
    say "It does not serve either: journalctl -u 'pickmyclass-*'"
    exit 4
}

release_before() { # release_before RELEASE: the proven one that served before it
    local name
    name=$(cat "$1/.proven" 2>/dev/null) || return 0
    [[ -z $name || ! -e $RELEASES/$name/.proven ]] || echo "$RELEASES/$name"
}

prune() { # what is in service, the proven ones before it and the one at work here stay; old dumps and all else go
    local kept=("${here%/deploy}") at old
    at=$(readlink -f "$CURRENT") || at=
    while [[ -n $at && ${#kept[@]} -le $KEEP_RELEASES ]]; do
        kept+=("$at")
        at=$(release_before "$at")
    done
    find "$RELEASES" -mindepth 1 -maxdepth 1 -type d | { grep -vxF "$(printf '%s\n' "${kept[@]}")" || true; } |
        while read -r old; do rm -f "$old/.proven" && rm -rf "$old"; done
    find "$BACKUPS" -maxdepth 1 -name 'before-*.dump' | sort | head -n "-$KEEP_DUMPS" | xargs -r rm -f --
    find "$BACKUPS" -maxdepth 1 -name '*.partial' -delete
}

main "$@"
