# Replaces and removes files, all of them or none, if they are as expected.
#
# "$1" is the state directory, "$2" the name of the backup, "$3" how many seconds to
# wait for the lock; then nine parameters for each file:
#   write|remove  path  expected  new  size  mode  owner  dirmode  validate
# expected and new are SHA-256 sums, expected may be "absent"; mode, owner and
# dirmode may be "-". Standard input holds the new contents one after the other.
#
# The last line of output is "done" after a line "same" or "changed" for each file,
# or one of the following with the number of the file, and then nothing is changed:
#   conflict N sum|absent   refused N reason   invalid N   failed N   locked
#   torn N: the change could not be taken back (standard error says why)
#
# The steps: lock; check; stage the new content beside the file and flush it;
# validate; back up; compare again; link the old file aside, rename the new one over
# it, compare the old one a last time (nobody can write to it unnoticed in between);
# flush the directory. A crash leaves the old file or the new one, complete.

state=$1
backup=$1/backup/$2
patience=$3
shift 3
me=$(id -u)

# each calls a function with the nine parameters of each file; i is its number.
each() {
	step=$1
	shift
	i=0
	while [ $# -gt 0 ]; do
		"$step" "$1" "$2" "$3" "$4" "$5" "$6" "$7" "$8" "$9" || return
		shift 9
		i=$((i + 1))
	done
}

# Names beside a file. They are fixed, so that the next edit finds what a crash left.
staged() { printf '%s/.%s.mailmove-new' "${1%/*}" "${1##*/}"; }
aside() { printf '%s/.%s.mailmove-old' "${1%/*}" "${1##*/}"; }

sum() {
	s=$(sha256sum <"$1") && printf '%s' "${s%% *}"
}

current() {
	if [ -e "$1" ]; then sum "$1"; else printf absent; fi
}

is_same() { eval "[ \"\$same_$i\" = 1 ]"; }

# give_up ends the script with the given answer; what was staged is removed.
give_up() {
	trap '' HUP INT TERM PIPE
	if [ "$committing" = 1 ]; then
		each undo "$@"
		each flush "$@"
		if [ "$torn" != - ]; then answer="torn $torn"; fi
	fi
	if [ "$torn" = - ]; then each tidy "$@"; fi
	echo "$answer"
	exit 0
}

tidy() {
	rm -f -- "$(staged "$2")" "$(aside "$2")"
}

refuse() {
	answer="refused $i $1"
	return 1
}

fail() {
	answer="failed $i"
	return 1
}

conflict() {
	answer="conflict $i $1"
	return 1
}

# safe_dir refuses a directory in which somebody else could exchange files.
# A directory above may be open to all if it is sticky: ours are safe in it.
safe_dir() {
	s=$(stat -c "%u %g %a" -- "$1") || fail || return
	uid=${s%% *} mode=${s##* } gid=${s#* }
	gid=${gid%% *}
	[ "$uid" = 0 ] || [ "$uid" = "$me" ] || refuse "the directory $1 belongs to user $uid" || return
	if [ $((0$mode & 02)) != 0 ] || { [ $((0$mode & 020)) != 0 ] && [ "$gid" != 0 ]; }; then
		[ $((0$mode & 01000)) != 0 ] && [ "$1" != "$dir" ] || refuse "others may write to the directory $1" || return
	fi
}

safe_dirs() {
	[ "$(readlink -f -- "$1")" = "$1" ] || refuse "the directory is a symbolic link or under one; use $(readlink -f -- "$1")" || return
	while :; do
		safe_dir "$1" || return
		[ "$1" != / ] || return 0
		set -- "${1%/*}"
		[ -n "$1" ] || set -- /
	done
}

# make_dir makes the missing directories above a new file.
make_dir() {
	set -- "$1" "$2" "$1"
	while [ ! -e "$3" ] && [ ! -L "$3" ]; do
		set -- "$1" "$2" "${3%/*}"
		[ -n "$3" ] || set -- "$1" "$2" /
	done
	dir=$3
	safe_dirs "$3" || return
	install -d -m "$2" -- "$1" && sync -- "$3" || fail
}

has_attributes() {
	[ "$2" = - ] || [ "$(stat -c %a -- "$1")" = "$2" ] || return
	[ "$3" = - ] && return
	case $(stat -c ' %U:%G %u:%g %U %u ' -- "$1") in *" $3 "*) return 0 ;; esac
	return 1
}

check() {
	eval "same_$i=0"
	eval "committed_$i=0"
	dir=${2%/*}
	[ -n "$dir" ] || dir=/
	if [ ! -d "$dir" ]; then
		if [ "$1" = remove ]; then
			eval "same_$i=1"
			return 0
		fi
		[ "$8" != - ] || refuse "there is no directory $dir" || return
		make_dir "$dir" "$8" || return
		dir=${2%/*}
	fi
	safe_dirs "$dir" || return
	left_over "$2" || return
	if [ -L "$2" ]; then
		refuse "it is a symbolic link to $(readlink -f -- "$2"); edit that file" || return
	fi
	if [ -e "$2" ]; then
		[ -f "$2" ] || refuse "it is not a regular file" || return
		[ "$(stat -c %h -- "$2")" = 1 ] || refuse "it has more than one hard link" || return
		owner=$(stat -c %U -- "$2")
		uid=$(stat -c %u -- "$2")
		[ "$uid" = 0 ] || [ "$uid" = "$me" ] || [ "$owner" = "${7%%:*}" ] || [ "$uid" = "${7%%:*}" ] ||
			refuse "it belongs to $owner; name that owner if this is right" || return
	fi
	found=$(current "$2") || fail || return
	if [ "$1" = remove ] && [ "$found" = absent ]; then
		eval "same_$i=1"
	elif [ "$1" = write ] && [ "$found" = "$4" ] && has_attributes "$2" "$6" "$7"; then
		eval "same_$i=1"
	elif [ "$found" != "$3" ]; then
		conflict "$found"
	fi
}

# left_over removes what a crash has left. An old file that is not the present one
# goes into the backup: it may be one that somebody changed in the last instant.
left_over() {
	rm -f -- "$(staged "$1")" || fail || return
	set -- "$1" "$(aside "$1")"
	if [ "$2" -ef "$1" ]; then
		rm -f -- "$2" || fail
	elif [ -e "$2" ]; then
		mkdir -p -- "$backup/left${1%/*}" && mv -fT -- "$2" "$backup/left$1" || fail
	fi
}

stage() {
	if is_same || [ "$1" = remove ]; then
		head -c "$5" >/dev/null
		return
	fi
	new=$(staged "$2")
	(set -C && : >"$new") || fail || return # O_EXCL
	if [ -e "$2" ]; then
		cp --attributes-only --preserve=all -- "$2" "$new" || fail || return
		[ "$(attributes "$2")" = "$(attributes "$new")" ] || refuse "its mode, owner, label or access list cannot be kept" || return
	fi
	[ "$7" = - ] || chown -- "$7" "$new" || fail || return
	[ "$6" = - ] || chmod -- "$6" "$new" || fail || return
	head -c "$5" >"$new" && [ "$(sum "$new")" = "$4" ] && sync -- "$new" || fail
}

attributes() {
	stat -c '%a %u %g %C' -- "$1" 2>/dev/null
	l=$(ls -ld -- "$1") && echo "${l%% *}"
}

validate() {
	if is_same || [ -z "$9" ]; then return 0; fi
	new=$(staged "$2")
	[ "$1" = write ] || new=
	/bin/sh -c "$9" validate "$new" "$2" </dev/null >&2 9>&- || {
		answer="invalid $i"
		return 1
	}
}

# back_up keeps the first original under a name.
back_up() {
	if is_same || [ -e "$backup/files$2" ] || [ -e "$backup/absent$2" ]; then return 0; fi
	if [ "$3" = absent ]; then
		mkdir -p -- "$backup/absent${2%/*}" && : >"$backup/absent$2" || fail || return
		sync -- "$backup/absent$2" "$backup/absent${2%/*}" || fail
		return
	fi
	mkdir -p -- "$backup/files${2%/*}" && cp --preserve=all -- "$2" "$backup/part" || fail || return
	found=$(sum "$backup/part") || fail || return
	[ "$found" = "$3" ] || conflict "$found" || return
	sync -- "$backup/part" && mv -fT -- "$backup/part" "$backup/files$2" && sync -- "$backup/files${2%/*}" || fail
}

compare() {
	is_same && return
	found=$(current "$2") || fail || return
	[ "$found" = "$3" ] || conflict "$found"
}

commit() {
	is_same && return
	new=$(staged "$2")
	old=$(aside "$2")
	if [ "$3" = absent ]; then
		# link(2) fails if somebody has made the file in the meantime.
		ln -T -- "$new" "$2" || {
			found=$(current "$2")
			if [ "$found" = absent ]; then fail; else conflict "$found"; fi
			return
		}
		eval "committed_$i=1"
		rm -f -- "$new" || fail || return
		if command -v restorecon >/dev/null; then restorecon -- "$2" || fail; fi
		return
	fi
	ln -T -- "$2" "$old" || fail || return
	compare "$@" || return
	if [ "$1" = write ]; then
		mv -fT -- "$new" "$2" || fail || return
	else
		rm -f -- "$2" || fail || return
	fi
	eval "committed_$i=1"
	found=$(sum "$old") || fail || return
	[ "$found" = "$3" ] || conflict "$found"
}

# undo takes one file of a failed commit back, unless somebody has changed it since.
undo() {
	eval "[ \"\$committed_$i\" = 1 ]" || return 0
	found=$(current "$2")
	old=$(aside "$2")
	if [ "$3" = absent ]; then
		[ "$found" = "$4" ] && rm -f -- "$2"
	elif [ "$1" = write ]; then
		[ "$found" = "$4" ] && mv -fT -- "$old" "$2"
	else
		[ "$found" = absent ] && ln -T -- "$old" "$2"
	fi || {
		[ "$torn" != - ] || torn=$i
		echo "$2 could not be taken back; the original is $backup/files$2" >&2
	}
	return 0
}

flush() {
	is_same && return
	sync -- "${2%/*}/" || fail
}

report() {
	if is_same; then echo same; else echo changed; fi
}

i=0
answer=
committing=0
torn=-
mkdir -p -- "$state" || exit
exec 9>>"$state/lock"
flock -w "$patience" 9 || {
	echo locked
	exit 0
}
trap 'answer="failed $i"; give_up "$@"' HUP INT TERM
each check "$@" || give_up "$@"
each stage "$@" || give_up "$@"
each validate "$@" || give_up "$@"
each back_up "$@" || give_up "$@"
each compare "$@" || give_up "$@"
trap '' HUP INT TERM PIPE
committing=1
each commit "$@" || give_up "$@"
each flush "$@" || give_up "$@"
committing=0
each tidy "$@"
each report "$@"
echo done
