#!/usr/bin/env bash
# Makes a Debian 12+ or Ubuntu 24.04+ server ready for PickMyClass. Run it as root, as often as you like: what is
# right already is left alone.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/lib.sh
source "$here/lib.sh"

DOMAIN=
HOSTED_REDIS=no
FIREWALL=yes
PACKAGES=(ca-certificates caddy curl git postgresql-client python3 python3-venv redis-server unattended-upgrades)

usage() {
    cat <<'USAGE'
usage: setup-vps.sh --domain NAME [--hosted-redis] [--no-firewall] [--dry-run]

  --domain NAME    the public name of the site; links in mail begin with it
  --hosted-redis   no Redis on this server: you put REDIS_URL into the settings
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
    [[ $FIREWALL == no ]] || open_firewall
    configure_caddy
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
        --no-firewall) FIREWALL=no ;;
        --dry-run) DRY_RUN=yes ;;
        -h | --help) usage && exit 0 ;;
        *) usage >&2 && die "unknown argument: $1" 2 ;;
        esac
        shift || break
    done
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

configure_redis() {
    # Only this server reaches it, with a password; the queue survives a restart; a full memory refuses instead of
    # forgetting jobs.
    local main=$ROOT/etc/redis/redis.conf password
    password=$(redis_password)
    put "$ROOT/etc/redis/pickmyclass.conf" 0640 redis:redis <<CONF
bind 127.0.0.1 -::1
protected-mode yes
requirepass ${password:-$(random_secret)}
appendonly yes
appendfsync everysec
maxmemory 64mb
maxmemory-policy noeviction
CONF
    local any=$CHANGED
    if ! grep -qsx 'include /etc/redis/pickmyclass.conf' "$main"; then
        { [[ ! -f $main ]] || cat "$main" && echo 'include /etc/redis/pickmyclass.conf'; } | put "$main" 0640 redis:redis
        any=yes
    fi
    run systemctl enable --quiet redis-server
    [[ $any == no ]] || run systemctl restart redis-server
}

write_settings() {
    # Once: later it is the operator's.
    [[ ! -e $ENV_FILE ]] || return 0
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
    run ufw allow 80/tcp
    run ufw allow 443/tcp
    run ufw allow 443/udp
    run ufw --force enable
}

open_ports_before_reject() { # open_ports_before_reject iptables|ip6tables
    local rule place
    for rule in $(ssh_ports | sed 's|$|/tcp|') 80/tcp 443/tcp 443/udp; do
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
    say "The server is ready. Now fill in $ENV_FILE and run: $here/deploy.sh"
    if grep -qs OracleCloud "$ROOT/sys/class/dmi/id/chassis_asset_tag"; then
        say "Oracle: open 80/tcp, 443/tcp and 443/udp in the subnet's security list too, and change the account to"
        say "pay-as-you-go (free resources stay free): idle instances of free accounts are reclaimed."
    fi
}

main "$@"
