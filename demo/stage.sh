# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# The stage of the demo, and how its story is told. The file `demo` reads this; see its head first.
#
#   outside()    starts the demo again, in namespaces of its own, and ends those on a signal
#   set_stage()  users, wires, server, in there
#   as, claim    what a user types, and what should come of it

readonly PATIENCE=20 # seconds until something that should have come has not

fail() {
    printf 'demo: %s\n' "$*" >&2
    exit 1
}

### outside: before the namespaces, and after them

check_prerequisites() {
    local program
    ((EUID == 0)) ||
        fail "making network namespaces (and no more than that) needs root: sudo make demo"
    [[ -x $WAYMARK_BUILD/waymarkd && -x $WAYMARK_BUILD/waymark ]] ||
        fail "no waymarkd and waymark in $WAYMARK_BUILD: run 'make' first, or set WAYMARK_BUILD"
    for program in /usr/bin/python3 curl ip jq nft nsenter pkill setpriv sysctl timeout unshare; do
        command -v "$program" >/dev/null ||
            fail "$program is missing: 'sudo make deps' installs what is needed"
    done
    [[ -e /proc/net/if_inet6 ]] ||
        fail "this kernel has IPv6 switched off, and the demo shows how IPv6 is kept from leaking"
}

# The first process in there takes all others with it. It may not be ready to be told.
stop() {
    trap '' INT TERM HUP
    exec 2>/dev/null
    while [[ -n ${!-} ]] && kill -0 "$!"; do
        pkill -TERM --parent "$!" || :
        sleep 0.01
    done
    trap - "$1"
    kill -s "$1" $$
}

outside() {
    local signal
    for signal in INT TERM HUP; do
        # shellcheck disable=SC2064 # which signal it is, is known now
        trap "stop $signal" "$signal"
    done
    check_prerequisites
    # Nothing of the caller's: no proxy, no language, no configuration of curl.
    setpriv --pdeathsig KILL env -i "TERM=${TERM-}" "NO_COLOR=${NO_COLOR-}" LC_ALL=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        "WAYMARK_BUILD=$WAYMARK_BUILD" "ASAN_OPTIONS=${ASAN_OPTIONS-}" \
        "UBSAN_OPTIONS=${UBSAN_OPTIONS-}" \
        unshare --mount --net --pid --fork --kill-child --mount-proc "$0" --first </dev/null &
    wait "$!"
}

# first COMMAND…: the first process of the namespaces.
first() {
    trap 'exit 1' TERM
    "$@" &
    wait "$!"
}

### the stage

# Files that only the namespaces see: the four users, the server's name, and no other services.
make_files() {
    local i file
    # With mtab, it would write into the /run that it hides.
    mount --no-mtab -t tmpfs -o mode=0755 demo /run
    mkdir /run/bin /run/etc /run/netns
    mount --bind "$WAYMARK_BUILD" /run/bin
    [[ ! -d /etc/waymark ]] || mount -t tmpfs demo /etc/waymark
    mount -t tmpfs -o mode=0755 demo /var/lib
    echo root:x:0:0:root:/run/etc:/bin/bash >/run/etc/passwd
    echo root:x:0: >/run/etc/group
    echo nobody:x:65534:65534::/:/bin/false >>/run/etc/passwd # whom the tunnel's server becomes
    echo nogroup:x:65534: >>/run/etc/group
    for i in "${!USERS[@]}"; do
        echo "${USERS[i]}:x:$((2001 + i)):$((2001 + i))::/run/etc:/bin/bash" >>/run/etc/passwd
        echo "${USERS[i]}:x:$((2001 + i)):" >>/run/etc/group
    done
    printf 'passwd: files\ngroup: files\nhosts: files\n' >/run/etc/nsswitch.conf
    printf '%s whoami.example\n' "$SERVER4" "$SERVER6" >/run/etc/hosts
    printf 'silent\nshow-error\nmax-time = 5\n' >/run/etc/.curlrc
    for file in passwd group nsswitch.conf hosts; do
        mount --bind "/run/etc/$file" "/etc/$file"
    done
}

internet() {
    nsenter --net=/run/netns/internet "$@"
}

# wire NAME NETWORK: an uplink .10 of this machine, and its provider .1.
wire() {
    ip link add "$1" type veth peer name "$1" netns internet
    ip -n internet addr add "$2.1/25" dev "$1"
    ip -n internet link set "$1" up
    ip addr add "$2.10/25" dev "$1"
    ip link set "$1" up
}

make_networks() {
    local metric=100 name
    ip netns add internet
    for name in '' internet; do # whatever the computer has, or addresses would come late
        $name sysctl -qw net.ipv{4.conf.{all,default}.rp_filter=2,6.conf.{all,default}.accept_dad=0}
    done
    ip link set lo up
    ip -n internet link set lo up
    ip -n internet addr add "$SERVER4/32" dev lo
    ip -n internet addr add "$SERVER6/128" dev lo

    wire wifi 192.0.2
    wire lte 198.51.100
    wire office 203.0.113
    for name in wifi:192.0.2.1 lte:198.51.100.1 office:203.0.113.1; do
        ip route add default via "${name#*:}" dev "${name%%:*}" metric $((metric++))
    done
    # IPv6 is on wifi only.
    ip -n internet addr add 2001:db8:1::1/64 dev wifi nodad
    ip addr add 2001:db8:1::10/64 dev wifi nodad
    ip -6 route add default via 2001:db8:1::1 dev wifi

    # The second witness.
    internet nft -f - <<<"table inet witness {
        counter wifi { }; counter lte { }; counter office { };
        chain arrivals {
            type filter hook prerouting priority raw
            ip daddr $SERVER4 counter name iifname map { wifi : wifi, lte : lte, office : office }
            ip6 daddr $SERVER6 counter name iifname map { wifi : wifi, lte : lte, office : office }
        }
    }"
}

start_server() {
    internet /usr/bin/python3 -I "${0%/*}/whoami.py" &>/run/server.log &
    await 'the server to answer' internet curl -4 "$URL"
}

start_daemon() {
    say "${dim}root#$plain ${bold}waymarkd &$plain"
    # In a session of its own: a Ctrl-C is for the demo, which ends it with everything else.
    # Its programs would be at the root cgroup, and the demo leaves the rest of the machine alone.
    setsid /run/bin/waymarkd --backend rules &>>/run/waymarkd.log &
    daemon=$!
    await 'waymarkd to answer' waymark_answers_or_ended
    kill -0 "$daemon" 2>/dev/null || { cat /run/waymarkd.log >&2; fail 'waymarkd did not start'; }
}

# The other end of the tunnel, in the internet.
serve_vpn() {
    say "${dim}internet#$plain ${bold}waymark-minivtun -l 0.0.0.0:1414 -a 10.7.0.1/24 -e secret &$plain"
    setsid nsenter --net=/run/netns/internet /run/bin/waymark-minivtun -l 0.0.0.0:1414 \
        -a 10.7.0.1/24 -e secret &>>/run/vpn-server.log &
    vpn_server=$!
    disown
    await 'its address' internet_has 10.7.0.1
}

internet_has() {
    [[ -n $(internet ip addr show to "$1") ]]
}

# start_vpn USER COMMAND: what that user types; it is his VPN from then on.
start_vpn() {
    local words
    say "$dim$1\$$plain $bold$2$plain"
    read -ra words <<<"${2% &}"
    setsid setpriv "--reuid=$1" "--regid=$1" --clear-groups "/run/bin/${words[0]}" "${words[@]:1}" \
        &>>/run/vpn-client.log &
    vpn_client=$!
    disown
    await 'the tunnel' vpn_is home up
}

vpn_is() {
    [[ $(waymark --json vpn show "$1" | jq -r .vpn.state) == "$2" ]]
}

waymark_answers_or_ended() {
    waymark status || ! kill -0 "$daemon"
}

# await WHAT COMMAND…: until the command succeeds.
await() {
    local what=$1 end=$((SECONDS + PATIENCE))
    shift
    until "$@" &>/run/await.log; do
        ((SECONDS < end)) || { tail -n 20 /run/*.log >&2; fail "waited $PATIENCE s for $what"; }
        sleep 0.02
    done
}

is_gone() {
    ! kill -0 "$1"
}

network_is() {
    [[ $(waymark --json network show "$1" | jq -r .network.state) == "$2" ]]
}

set_stage() {
    trap 'fail "line $LINENO: $BASH_COMMAND: exit code $?"' ERR
    use_colors
    make_files
    PATH=/run/bin:$PATH HOME=/run/etc TMPDIR=/run
    make_networks
    start_server
}

### how the story is told

bold='' dim='' good='' bad='' plain='' color=never
code=0 out='' # of the last command
claims=0 broken=0 daemon=0
export vpn_server=0 vpn_client=0 # read by the story

use_colors() {
    [[ -t 1 && -z $NO_COLOR && $TERM != @(|dumb) ]] || return 0
    bold=$'\e[1m' dim=$'\e[2m' good=$'\e[32m' bad=$'\e[31m' plain=$'\e[0m' color=always
}

# All that is printed is printed here. When nobody reads any more, that is the end.
say() {
    printf '%s\n' "$@" 2>/dev/null || exit 141
}

pause() {
    [[ ! -t 1 ]] || sleep "$1"
}

step() {
    pause 0.3
    say '' "$bold$1$plain" "${@:2}"
    pause 0.3
}

# become USER COMMAND, with a limit. waymark has to be told of colours: its output is caught.
become() {
    local command=$2
    if [[ $1 == internet ]]; then
        internet bash -c "$command"
    elif [[ $1 == root ]]; then
        timeout "$PATIENCE" bash -c "${command/#waymark /waymark --color $color }"
    else
        timeout "$PATIENCE" setpriv "--reuid=$1" "--regid=$1" --clear-groups bash -c "$command"
    fi
}

# as USER COMMAND: what that user types, and what comes of it.
as() {
    local prompt='$'
    [[ $1 != @(root|internet) ]] || prompt='#'
    say "$dim$1$prompt$plain $bold$2$plain"
    code=0
    out=$(become "$1" "$2" 2>&1) || code=$?
    [[ -z $out ]] || say "$out"
    out=${out//$'\e['*([0-9;])m/}
    pause 0.17
    [[ $prompt != '#' || $code == 0 ]] || claim 'that works' "exit code 0 instead of $code"
}

# claim WHAT PATTERN: that is what the last command has printed.
claim() {
    claims=$((claims + 1))
    # shellcheck disable=SC2053 # it is a pattern
    if [[ $out == $2 ]]; then
        say "$good✓ $1$plain"
    else
        broken=$((broken + 1))
        say "$bad✗ $1$plain" "  expected: $2" "  instead:  $out"
    fi
}

# chatter USER COMMAND: what that user types, and what goes on from then.
chatter() {
    forget_packets
    say "$dim$1\$$plain $bold$2$plain"
    become "$1" "${2% &}" &>/dev/null &
    disown
    await 'the first packet' packets_came
}

# What the witness has counted since it was last asked.
forget_packets() {
    internet nft reset counters table inet witness >/dev/null
}

packets_came() {
    [[ $(internet nft list counters table inet witness) == *'packets '[1-9]* ]]
}

count_packets() {
    out=$(internet nft -j reset counters table inet witness |
        jq -r '[.nftables[].counter | values | "\(.name) \(.packets)"] | join(", ")')
    say "${dim}packets at the far ends:$plain $out"
}

finish() {
    kill "$daemon"
    wait "$daemon" || claim 'waymarkd ends when it is told' "exit code 0 instead of $?"
    say ''
    if ((broken)); then
        say "$bad$broken of $claims claims did not hold.$plain"
        cat /run/waymarkd.log >&2
        exit 1
    fi
    say "${good}All $claims claims held.$plain Nothing of it stays behind." \
        'On this machine itself: sudo make install, sudo systemctl start waymark, waymark'
}

