# fish completion for waymark(1)
# SPDX-License-Identifier: LGPL-2.1-or-later
# The words are those of `waymark help --words`; a test compares the two.

# Options that may stand alone.
set --global __waymark_flags --lockdown --fall-through --bypass --always-on --everyone --forward

# The words of the command line so far: no options, none of their values.
function __waymark_words
    set --local valued --runtime-dir --timeout --color --netid --type --interface --dns --domain \
        --permission --uid --user --pid --exe --unit --cgroup --mark --dev --from --scope --apps \
        --except --exempt --lan --owner --engine --address --route --exclude --name --config --wait --outside \
        --as --map
    set --local tokens (commandline -opc)
    set --local value 0
    for token in $tokens[2..-1]
        if test $value = 1
            set value 0
        else if contains -- $token $valued
            set value 1
        else if test $value = 2; and contains -- $token yes no
            set value 0
        else if contains -- $token $__waymark_flags
            set value 2 # it may stand alone
        else if not string match -q -- '-*' $token
            set value 0
            echo $token
        end
    end
end

# True when exactly these words have been written.
function __waymark_after
    set --local words (__waymark_words)
    test "$words" = "$argv"
end

# True when these words begin the line and COUNT words have been written: COUNT WORD…
function __waymark_at
    set --local words (__waymark_words)
    test (count $words) = $argv[1]; or return 1
    set --local expected $argv[2..-1]
    set --local n (count $expected)
    test "$words[1..$n]" = "$expected"
end

# True when these words begin the line.
function __waymark_in
    set --local words (__waymark_words)
    set --local n (count $argv)
    test (count $words) -ge $n; or return 1
    test "$words[1..$n]" = "$argv"
end

# True when a part of a route may come next, and when it is the value behind `dev`.
function __waymark_in_route
    set --local words (__waymark_words)
    test (count $words) -ge 4; and test "$words[1]" = route
    and not contains -- $words[-1] dev via mtu
end

function __waymark_behind_dev
    set --local words (__waymark_words)
    test (count $words) -ge 4; and test "$words[1]" = route; and test "$words[-1]" = dev
end

# True behind an option that may stand alone: there is yes or no, or another word.
function __waymark_behind_flag
    set --local tokens (commandline -opc)
    contains -- $tokens[-1] $__waymark_flags
end

# The names of networks, or of VPNs: NOUN
function __waymark_names
    set --local dir
    set --local tokens (commandline -opc)
    if set --local i (contains -i -- --runtime-dir $tokens)
        set dir --runtime-dir $tokens[(math $i + 1)]
    end
    waymark $dir --timeout 1 $argv[1] list 2>/dev/null | string match -rg '^\d+\s+(\S+)'
end

function __waymark_networks
    __waymark_names network
end

function __waymark_vpns
    __waymark_names vpn
end

# The names of one's keys, or of whom is acted for.
function __waymark_keys
    set --local options
    set --local tokens (commandline -opc)
    for option in --runtime-dir --as
        if set --local i (contains -i -- $option $tokens)
            set --append options $option $tokens[(math $i + 1)]
        end
    end
    waymark $options --timeout 1 keystore list 2>/dev/null
end

function __waymark_interfaces
    for path in /sys/class/net/*
        string replace -r '.*/' '' $path
    end
end

complete -c waymark -f
complete -c waymark -n __waymark_behind_flag -a 'yes no'

complete -c waymark -l json -d 'one JSON document instead of text'
complete -c waymark -l runtime-dir -r -a '(__fish_complete_directories)' -d 'of the daemon'
complete -c waymark -l timeout -x -d 'how long to wait for the daemon'
complete -c waymark -l color -x -a 'auto always never'
complete -c waymark -l help -d 'what a command does and takes'
complete -c waymark -l version -d 'the version of this program'

for under in __waymark_after '__waymark_after help'
    complete -c waymark -n $under -a status -d 'networks, assignments and health, at a glance'
    complete -c waymark -n $under -a network -d networks
    complete -c waymark -n $under -a route -d 'routes of networks'
    complete -c waymark -n $under -a default -d 'show or set where the unassigned go'
    complete -c waymark -n $under -a assign -d 'send apps to a network, or block them'
    complete -c waymark -n $under -a unassign -d 'undo an assignment'
    complete -c waymark -n $under -a assignments -d 'list the assignments'
    complete -c waymark -n $under -a apps -d 'what each app has sent and got, by network'
    complete -c waymark -n $under -a run -d 'run a program on a network, or offline'
    complete -c waymark -n $under -a vpn -d 'VPNs: who makes them, and for whom'
    complete -c waymark -n $under -a keystore -d 'secrets, and who may read them'
    complete -c waymark -n $under -a explain -d 'say what holds for an app, where its packet goes, and why'
    complete -c waymark -n $under -a verify -d 'prove that no user can leave by another network'
    complete -c waymark -n $under -a doctor -d 'look for what is missing or in the way'
    complete -c waymark -n $under -a monitor -d 'show what happens, as it happens'
    complete -c waymark -n $under -a reload -d 'read configuration and users again'
    complete -c waymark -n $under -a panic-off -d 'take everything out of the kernel'
    complete -c waymark -n $under -a help -d 'what a command does and takes'
end

for under in '__waymark_after network' '__waymark_after help network'
    complete -c waymark -n $under -a 'list show add set remove attach detach'
end
for under in '__waymark_after route' '__waymark_after help route'
    complete -c waymark -n $under -a 'add remove'
end

for under in '__waymark_after vpn' '__waymark_after help vpn'
    complete -c waymark -n $under -a 'list show add adopt import set remove up down consent'
end

for under in '__waymark_after keystore' '__waymark_after help keystore'
    complete -c waymark -n $under \
        -a 'test put get rm list grant ungrant lock unlock password reset import'
end

for verb in show set remove attach detach
    complete -c waymark -n "__waymark_after network $verb" -a '(__waymark_networks)'
end
for verb in attach detach
    complete -c waymark -n "__waymark_at 3 network $verb" -a '(__waymark_interfaces)'
end
for verb in add set
    set --local in "__waymark_in network $verb"
    complete -c waymark -n $in -l netid -x -d 'its number'
    complete -c waymark -n $in -l type -x -a 'physical vpn local unreachable'
    complete -c waymark -n $in -l interface -x -a '(__waymark_interfaces)'
    complete -c waymark -n $in -l dns -x -d 'a DNS server'
    complete -c waymark -n $in -l domain -x -d 'a search domain'
    complete -c waymark -n $in -l permission -x -a 'none network system'
    complete -c waymark -n $in -l fall-through -a 'yes no' -d 'without a route by the default network'
    complete -c waymark -n $in -l lockdown -a 'yes no' -d 'its apps may use nothing else'
    complete -c waymark -n $in -l outside -x -d 'what its apps reach without it'
end

for verb in add remove
    complete -c waymark -n "__waymark_after route $verb" -a '(__waymark_networks)'
    complete -c waymark -n "__waymark_at 3 route $verb" -a default
end
complete -c waymark -n __waymark_in_route -a 'via unreachable throw dev mtu'
complete -c waymark -n __waymark_behind_dev -a '(__waymark_interfaces)'

complete -c waymark -n '__waymark_after default' -a 'system (__waymark_networks)'

for command in assign unassign
    complete -c waymark -n "__waymark_after $command" -a 'uid: user: group: cgroup: unit: exe:'
end
complete -c waymark -n '__waymark_at 2 assign' -a 'none default (__waymark_networks)'
complete -c waymark -n '__waymark_in assign' -l prefer -d 'the default network without it'

complete -c waymark -n '__waymark_after run' -a 'none (__waymark_networks)'
complete -c waymark -n '__waymark_in run' -l scope -x -a 'auto systemd daemon'
complete -c waymark -n '__waymark_at 2 run' -a '(__fish_complete_command)'
complete -c waymark -n '__waymark_in run; and not __waymark_after run' -F

complete -c waymark -n '__waymark_in explain' -l uid -x -d 'who sends, by user id'
complete -c waymark -n '__waymark_in explain' -l user -x -a '(__fish_complete_users)'
complete -c waymark -n '__waymark_in explain' -l pid -x -a '(__fish_complete_pids)'
complete -c waymark -n '__waymark_in explain' -l exe -r -F -d 'the executable of who sends'
complete -c waymark -n '__waymark_in explain' -l unit -x -d 'the systemd unit of who sends'
complete -c waymark -n '__waymark_in explain' -l cgroup -x -d 'the cgroup of who sends'
complete -c waymark -n '__waymark_in explain' -l mark -x -d "the socket's mark"
complete -c waymark -n '__waymark_in explain' -l dev -x -a '(__waymark_interfaces)'
complete -c waymark -n '__waymark_in explain' -l from -x -d 'the address it is bound to'

for verb in show set remove up down
    complete -c waymark -n "__waymark_after vpn $verb" -a '(__waymark_vpns)'
end
complete -c waymark -n '__waymark_after vpn adopt' -a '(__waymark_interfaces)'
complete -c waymark -n '__waymark_after vpn import' -k -a '(__fish_complete_suffix .conf)'
complete -c waymark -n '__waymark_after vpn consent' -a '(__fish_complete_users)'
for verb in add adopt import set
    set --local in "__waymark_in vpn $verb"
    complete -c waymark -n $in -l everyone -a 'yes no' -d 'for all users but root'
    complete -c waymark -n $in -l apps -x -a 'uid: user: group: cgroup: unit: exe:' -d 'whom it is for'
    complete -c waymark -n $in -l except -x -a 'uid: user: group: cgroup: unit: exe:' -d 'whom not'
    complete -c waymark -n $in -l exempt -x -a 'uid: user: group: cgroup: unit: exe:' \
        -d 'whom lockdown does not hold'
    complete -c waymark -n $in -l lockdown -a 'yes no' -d 'its apps may use nothing else'
    complete -c waymark -n $in -l bypass -a 'yes no' -d 'its apps may choose another network'
    complete -c waymark -n $in -l lan -x -a 'none link-local' -d 'what they may reach without it'
end
for verb in add set
    set --local in "__waymark_in vpn $verb"
    complete -c waymark -n $in -l owner -x -a '(__fish_complete_users)' -d 'who may make it'
    complete -c waymark -n $in -l always-on -a 'yes no' -d 'it is to be up always'
    complete -c waymark -n $in -l forward -a 'yes no' -d 'what its tunnel brings may go on'
    complete -c waymark -n $in -l engine -x -d 'what is started for it'
end
for verb in adopt import set
    complete -c waymark -n "__waymark_in vpn $verb" -l fall-through -a 'yes no' \
        -d 'without a route by the default network'
end
for verb in adopt set
    set --local in "__waymark_in vpn $verb"
    complete -c waymark -n $in -l address -x -d 'an address of its interface'
    complete -c waymark -n $in -l route -x -d 'what goes by it'
    complete -c waymark -n $in -l exclude -x -d 'what does not'
    complete -c waymark -n $in -l dns -x -d 'a DNS server'
    complete -c waymark -n $in -l domain -x -d 'a search domain'
end
for verb in adopt import
    complete -c waymark -n "__waymark_in vpn $verb" -l name -x -d 'its name'
end
for verb in import set
    complete -c waymark -n "__waymark_in vpn $verb" -l interface -x -a '(__waymark_interfaces)'
end
complete -c waymark -n '__waymark_in vpn import' -l force -d 'replace what is there'
complete -c waymark -n '__waymark_in vpn import' -l config -r -a '(__fish_complete_directories)' \
    -d "the daemon's configuration"
complete -c waymark -n '__waymark_in vpn up' -l wait -x -d 'how long, in seconds'
complete -c waymark -n '__waymark_in vpn consent' -l everyone -a 'yes no' -d "for all users' apps"
complete -c waymark -n '__waymark_in vpn consent' -l revoke -d 'take it back'

for verb in put get rm list grant ungrant
    complete -c waymark -n "__waymark_after keystore $verb" -a '(__waymark_keys)'
end
for verb in grant ungrant
    complete -c waymark -n "__waymark_at 3 keystore $verb" -a '(__fish_complete_users)'
end
for verb in test put get rm list grant ungrant lock unlock password reset
    complete -c waymark -n "__waymark_in keystore $verb" -l as -x -a '(__fish_complete_users)' \
        -d 'act as this user'
end
for verb in get reset import
    complete -c waymark -n "__waymark_in keystore $verb" -l force -d 'do it all the same'
end
complete -c waymark -n '__waymark_after keystore import' -a '(__fish_complete_directories)'
complete -c waymark -n '__waymark_in keystore import' -l map -x -d 'whose keys become whose'
complete -c waymark -n '__waymark_in keystore import' -l partial -d 'the rest when some cannot be'
