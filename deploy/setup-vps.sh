#!/usr/bin/env bash
# Makes a Debian 12+ or Ubuntu 24.04+ server ready for PickMyClass. Run it as root, as often as you like: what is
# right already is left alone.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/lib.sh
source "$here/lib.sh"

DOMAIN=
HOSTED_REDIS=no
SHARES=
JOINS=
FIREWALL=yes
PACKAGES=(ca-certificates caddy curl git postgresql-client python3 python3-venv redis-server unattended-upgrades)

usage() {
    cat <<'USAGE'
usage: setup-vps.sh --domain NAME [--hosted-redis | --shares ADDRESS] [--no-firewall] [--dry-run]
       setup-vps.sh --joins FILE [--no-firewall] [--dry-run]

  --domain NAME    the public name of the site; links in mail begin with it
  --hosted-redis   no Redis on this server: you put REDIS_URL into the settings
  --shares ADDRESS let other servers use this one's Redis, over TLS, at this private address; writes the file for them
  --joins FILE     be a second server, without Redis and Caddy: FILE comes from the one that shares
  --no-firewall    leave the firewall alone
  --dry-run        say what would be done, and do nothing
USAGE
}

main() {
    read_arguments "$@"
    check_system
    install_packages
    make_user_and_folders
    [[ $HOSTED_REDIS == yes ]] || configure_redis
    write_settings
    [[ -z $SHARES ]] || write_invitation
    [[ $FIREWALL == no ]] || open_firewall
    [[ -n $JOINS ]] || configure_caddy
    install_units "$here/.."
    put "$ROOT/etc/systemd/system/pickmyclass-recover.service" 0644 root:root <"$here/systemd/pickmyclass-recover.service"
    [[ $CHANGED == no ]] || run systemctl daemon-reload
    run systemctl enable --quiet pickmyclass.target pickmyclass-recover.service
    add_swap
    keep_time
    bound_journal
    tune_kernel
    what_now
}

read_arguments() {
    while [[ $# -gt 0 ]]; do
        case $1 in
        --domain) DOMAIN=${2:-} && shift ;;
        --hosted-redis) HOSTED_REDIS=yes ;;
        --shares) SHARES=${2:-} && shift ;;
        --joins) JOINS=${2:-} HOSTED_REDIS=yes && shift ;;
        --no-firewall) FIREWALL=no ;;
        --dry-run) DRY_RUN=yes ;;
        -h | --help) usage && exit 0 ;;
        *) usage >&2 && die "unknown argument: $1" 2 ;;
        esac
        shift || break
    done
    if [[ -n $JOINS ]]; then
        grep -qs '^REDIS_URL=rediss:' "$JOINS" || die "--joins needs the file that setup-vps.sh --shares wrote" 2
        return
    fi
    [[ -z $SHARES || $SHARES =~ ^[0-9]+(\.[0-9]+){3}$ ]] || die "--shares needs a private IPv4 address of this server" 2
    [[ $DOMAIN =~ ^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$ ]] || die "--domain needs a host name" 2
}

check_system() {
    [[ -n $ROOT || $DRY_RUN == yes || $(id -u) == 0 ]] || die "run this as root (sudo)"
    local id_like
    id_like=$(sed -n 's/^ID\(_LIKE\)\?=//p' "$ROOT/etc/os-release" 2>/dev/null | tr -d '"' | tr '\n' ' ')
    [[ $id_like == *debian* || $id_like == *ubuntu* ]] || die "this server is neither Debian nor Ubuntu"
}

install_packages() {
    local package missing=() wanted=("${PACKAGES[@]}")
    [[ $HOSTED_REDIS == no ]] || wanted=("${wanted[@]/redis-server/}")
    [[ -z $JOINS ]] || wanted=("${wanted[@]/caddy/}")
    for package in "${wanted[@]}"; do
        [[ -z $package ]] && continue
        [[ $(dpkg-query -W -f='${Status}' "$package" 2>/dev/null) == *"install ok installed"* ]] || missing+=("$package")
    done
    if [[ ${#missing[@]} -gt 0 ]]; then
        run apt-get update -q
        run env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
    fi
    [[ $DRY_RUN == yes ]] || python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "Python 3.11 or newer is needed: Debian 12 or Ubuntu 24.04 bring it"
    put "$ROOT/etc/apt/apt.conf.d/20auto-upgrades" 0644 root:root <<'APT'
APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";
APT
}

make_user_and_folders() {
    if ! getent passwd "$SERVICE_USER" >/dev/null; then
        run useradd --system --user-group --home-dir /var/lib/pickmyclass --shell /usr/sbin/nologin "$SERVICE_USER"
    fi
    put_folder "$BASE" 0755 root:root
    put_folder "$BASE/releases" 0755 root:root
    put_folder "$ETC" 0750 "root:$SERVICE_USER"
    put_folder "$ROOT/var/lib/pickmyclass" 0750 "$SERVICE_USER:$SERVICE_USER"
    put_folder "$ROOT/var/backups/pickmyclass" 0700 root:root
}

random_secret() { head -c 32 /dev/urandom | base64 | tr -d '=\n' | tr '+/' '-_'; }

redis_password() { sed -n 's/^requirepass //p' "$ROOT/etc/redis/pickmyclass.conf" 2>/dev/null || true; }

redis_settings() { # redis_settings PASSWORD
    [[ -z $SHARES ]] || echo "# shared at $SHARES"
    cat <<CONF
bind 127.0.0.1 -::1${SHARES:+ $SHARES}
protected-mode yes
requirepass $1
appendonly yes
appendfsync everysec
maxmemory 64mb
maxmemory-policy noeviction
CONF
    [[ -z $SHARES ]] || cat <<CONF
tls-port 6380
tls-cert-file /etc/redis/pickmyclass.crt
tls-key-file /etc/redis/pickmyclass.key
tls-auth-clients no
CONF
}

configure_redis() {
    # Only this server reaches it, with a password; the queue survives a restart; a full memory refuses instead of
    # forgetting jobs.
    local main=$ROOT/etc/redis/redis.conf own=$ROOT/etc/redis/pickmyclass.conf password any
    password=$(redis_password)
    SHARES=${SHARES:-$(sed -n 's/^# shared at //p' "$own" 2>/dev/null || true)}
    [[ -z $SHARES || -f $ROOT/etc/redis/pickmyclass.crt ]] || make_certificate
    put "$own" 0640 redis:redis < <(redis_settings "${password:-$(random_secret)}") # no pipe: it would lose CHANGED
    any=$CHANGED
    if ! grep -qsx 'include /etc/redis/pickmyclass.conf' "$main"; then
        { [[ ! -f $main ]] || cat "$main" && echo 'include /etc/redis/pickmyclass.conf'; } | put "$main" 0640 redis:redis
        any=yes
    fi
    run systemctl enable --quiet redis-server
    [[ $any == no ]] || run systemctl restart redis-server
}

make_certificate() { # for the shared Redis: signed by itself, and sent to the other servers in their file
    run mkdir -p "$ROOT/etc/redis"
    run openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
        -subj /CN=pickmyclass-redis -addext "subjectAltName=IP:$SHARES" \
        -keyout "$ROOT/etc/redis/pickmyclass.key" -out "$ROOT/etc/redis/pickmyclass.crt"
    run chown redis:redis "$ROOT/etc/redis/pickmyclass.key" "$ROOT/etc/redis/pickmyclass.crt"
    run chmod 640 "$ROOT/etc/redis/pickmyclass.key"
}

write_invitation() { # our settings for another server, with the way to our Redis and its certificate
    [[ $DRY_RUN == no || -f $ENV_FILE ]] || return 0
    {
        grep -vE '^(REDIS_URL|WORKER_NAME|HOST|UPSTREAMS)=' "$ENV_FILE"
        echo "REDIS_URL=rediss://:$(redis_password)@$SHARES:6380/0?ssl_ca_certs=/etc/pickmyclass/redis.crt"
        sed 's/^/#redis.crt /' "$ROOT/etc/redis/pickmyclass.crt" 2>/dev/null || true
    } | put "$ETC/join.env" 0600 root:root
}

write_settings() {
    # Once: later it is the operator's.
    [[ ! -e $ENV_FILE ]] || return 0
    if [[ -n $JOINS ]]; then
        sed -n 's/^#redis.crt //p' "$JOINS" | put "$ETC/redis.crt" 0644 root:root
        sed '/^#redis.crt /d' "$JOINS" | put "$ENV_FILE" 0640 "root:$SERVICE_USER"
        return
    fi
    local redis=change-me
    [[ $HOSTED_REDIS == yes ]] || redis="redis://:$(redis_password)@127.0.0.1:6379/0"
    {
        echo "# The settings of PickMyClass. docs/settings.md explains each; after a change: sudo systemctl restart pickmyclass.target"
        sed -e "s|^REDIS_URL=.*|REDIS_URL=$redis|" \
            -e "s|^SITE_URL=.*|SITE_URL=https://$DOMAIN|" \
            -e "s|^CRON_SECRET=.*|CRON_SECRET=$(random_secret)|" \
            -e "s|^UNSUBSCRIBE_SIGNING_SECRET=.*|UNSUBSCRIBE_SIGNING_SECRET=$(random_secret)|" \
            "$here/../.env.example"
    } | put "$ENV_FILE" 0640 "root:$SERVICE_USER"
}

ssh_ports() {
    local ports
    ports=$(sshd -T 2>/dev/null | awk '$1 == "port" {print $2}') || true
    echo "${ports:-22}"
}

open_firewall() {
    # Oracle's images end their INPUT chain with REJECT and must not get ufw (it cuts the volume's iSCSI connection):
    # there our rules go in front of it. Everywhere else ufw does it.
    if iptables -S INPUT 2>/dev/null | grep -q -- '-j REJECT'; then
        open_ports_before_reject iptables
        close_ipv6
        open_ports_before_reject ip6tables
        run netfilter-persistent save
        return
    fi
    command -v ufw >/dev/null || run env DEBIAN_FRONTEND=noninteractive apt-get install -q -y ufw
    [[ ! -f $ROOT/etc/default/ufw ]] || run sed -i 's/^IPV6=.*/IPV6=yes/' "$ROOT/etc/default/ufw"
    local port
    for port in $(ssh_ports); do run ufw allow "$port/tcp"; done
    if [[ -z $JOINS ]]; then
        run ufw allow 80/tcp
        run ufw allow 443/tcp
        run ufw allow 443/udp
    fi
    [[ -z $SHARES ]] || run ufw allow proto tcp to "$SHARES" port 6380
    run ufw --force enable
}

open_ports_before_reject() { # open_ports_before_reject iptables|ip6tables
    local rule place rules=(80/tcp 443/tcp 443/udp)
    [[ -z $JOINS ]] || rules=()
    [[ -z $SHARES || $1 != iptables ]] || rules+=(6380/tcp)
    for rule in $(ssh_ports | sed 's|$|/tcp|') "${rules[@]}"; do
        local words=(-p "${rule#*/}" --dport "${rule%/*}" -j ACCEPT)
        "$1" -C INPUT "${words[@]}" 2>/dev/null && continue
        place=$("$1" -S INPUT | grep -- '^-A' | grep -n -m 1 -- '-j REJECT' | cut -d: -f1) || true
        run "$1" -I INPUT "${place:-1}" "${words[@]}"
    done
}

close_ipv6() {
    # Oracle's images close IPv4 only. IPv6 does not work without its ICMP, nor gets an address without DHCP's answers.
    ip6tables -S INPUT 2>/dev/null | grep -q -- '-j REJECT' && return
    run ip6tables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    run ip6tables -A INPUT -i lo -j ACCEPT
    run ip6tables -A INPUT -p ipv6-icmp -j ACCEPT
    run ip6tables -A INPUT -p udp --dport 546 -j ACCEPT
    run ip6tables -A INPUT -j REJECT --reject-with icmp6-adm-prohibited
}

configure_caddy() {
    # Its names come from a file of its own that holds no secret: Debian's unit prints the environment to the journal.
    put "$ROOT/etc/systemd/system/caddy.service.d/pickmyclass.conf" 0644 root:root <<'UNIT'
[Service]
EnvironmentFile=-/etc/pickmyclass/caddy.env
MemoryHigh=120M
MemoryMax=200M
Restart=on-failure
RestartSec=5
UNIT
    [[ $CHANGED == no ]] || run systemctl daemon-reload
    run systemctl enable --quiet caddy
}

add_swap() {
    [[ -z $(swapon --show --noheadings 2>/dev/null) ]] || return 0
    run fallocate -l 1G "$ROOT/swapfile"
    run chmod 600 "$ROOT/swapfile"
    run mkswap "$ROOT/swapfile"
    if ! run swapon "$ROOT/swapfile"; then # a server that is itself a container
        rm -f "$ROOT/swapfile"
        say "No swap: this server's kernel or file system takes none."
        return 0
    fi
    grep -qs '^/swapfile ' "$ROOT/etc/fstab" && return
    { [[ ! -f $ROOT/etc/fstab ]] || cat "$ROOT/etc/fstab" && echo '/swapfile none swap sw 0 0'; } |
        put "$ROOT/etc/fstab" 0644 root:root
}

keep_time() {
    # Oracle's images bring chrony; a second time service would fight it. A small image may bring none.
    local service
    for service in chrony ntpsec ntp openntpd; do
        if systemctl is-active --quiet "$service" 2>/dev/null; then return; fi
    done
    if [[ $(timedatectl show --property=CanNTP --value 2>/dev/null) == no ]]; then
        run env DEBIAN_FRONTEND=noninteractive apt-get install -q -y systemd-timesyncd
        run systemctl try-restart systemd-timedated # which looked for one when it started
    fi
    run timedatectl set-ntp true
}

bound_journal() {
    put "$ROOT/etc/systemd/journald.conf.d/pickmyclass.conf" 0644 root:root <<'JOURNAL'
[Journal]
SystemMaxUse=200M
MaxRetentionSec=1month
JOURNAL
    [[ $CHANGED == no ]] || run systemctl restart systemd-journald
}

tune_kernel() {
    # Redis forks to rewrite its file; on a small server that needs overcommit. Swap is for emergencies.
    put "$ROOT/etc/sysctl.d/90-pickmyclass.conf" 0644 root:root <<'SYSCTL'
vm.overcommit_memory = 1
vm.swappiness = 10
SYSCTL
    [[ $CHANGED == no ]] || run sysctl --quiet --load "$ROOT/etc/sysctl.d/90-pickmyclass.conf"
}

what_now() {
    if [[ -n $JOINS ]]; then
        say "The server is ready. Now run: $here/deploy.sh --no-migrate"
    else
        say "The server is ready. Now fill in $ENV_FILE and run: $here/deploy.sh"
    fi
    [[ -z $SHARES ]] || say "For another server: copy $ETC/join.env there (it is secret), after the settings are filled in."
    if grep -qs OracleCloud "$ROOT/sys/class/dmi/id/chassis_asset_tag"; then
        say "Oracle: open 80/tcp, 443/tcp and 443/udp in the subnet's security list too, and change the account to"
        say "pay-as-you-go (free resources stay free): idle instances of free accounts are reclaimed."
    fi
}

main "$@"
