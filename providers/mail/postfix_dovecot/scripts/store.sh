#!/bin/sh
# store.sh: the files of accounts. A store is a home and, below it, what belongs
# to the mail: the Maildir, the Sieve scripts.
#
#	where LOGIN...                      a line of home, uid, gid, mail location, separated by tabs
#	receive HOME UID GID                standard input: a secret; prints a directory with a configuration for rsync --daemon
#	forget DIRECTORY                    of receive
#	send PORT HOME ITEM...              standard input: the secret; prints messages, bytes, carried messages
#	aside OP HOME ITEM...               keeps what is there, once for an op
#	list DEPTH HOME ITEM...             the manifest of files
#	boxes DEPTH LOGIN HOME ITEM...      the manifest as Dovecot sees the store; the items are scripts
#	method LOGIN METHOD                 remembers by which method the store was made
#	methods LOGIN...                    prints one line each
set -eu
umask 077
export LC_ALL=C
state=${MAILMOVE_STATE:-/var/lib/mailmove}

die() {
	printf '%s\n' "$*" >&2
	exit 1
}

where() {
	for login in "$@"; do
		# One field at a time: a value may hold anything.
		for field in home uid gid mail; do
			value=$(doveadm user -f "$field" "$login") || die "Dovecot does not know $login"
			printf '%s\t' "$value"
		done
		echo
	done
}

receive() {
	mkdir -p "$state/rsync"
	find "$state/rsync" -mindepth 1 -maxdepth 1 -mtime +1 -exec rm -rf {} +
	directory=$(mktemp -d "$state/rsync/XXXXXXXX")
	if [ ! -d "$1" ]; then
		parent=${1%/*}
		[ -d "$parent" ] || { mkdir -p "$parent" && chown "$2:$3" "$parent" && chmod 700 "$parent"; }
		mkdir "$1"
		chown "$2:$3" "$1"
		chmod 700 "$1"
	fi
	printf 'mailmove:%s\n' "$(cat)" >"$directory/secrets"
	cat >"$directory/rsyncd.conf" <<-END
		use chroot = yes
		reverse lookup = no
		log file = $directory/log
		[store]
		path = $1
		uid = $2
		gid = $3
		read only = no
		auth users = mailmove
		secrets file = $directory/secrets
	END
	echo "$directory"
}

# paths HOME ITEM...: rsync's names of the items, of which -R keeps the part after "./".
send() {
	port=$1 home=$2
	shift 2
	directory=$(mktemp -d)
	trap 'rm -rf "$directory"' EXIT
	cat >"$directory/secret"
	for item in "$@"; do
		shift
		set -- "$@" "$home/./$item"
	done
	rc=0
	# Owner and group are the peer's. What is only there is removed only there.
	carry() { rsync -rlptR --delete --delete-missing-args --timeout=600 --password-file="$directory/secret" --exclude='tmp/*' --exclude='*.lock' "$@"; }
	carry --out-format='%i %n' "$@" "rsync://mailmove@127.0.0.1:$port/store/" >"$directory/carried" 2>"$directory/errors" || rc=$?
	# Files that Dovecot rewrites may change within a second and keep their size.
	if [ "$rc" = 0 ] || [ "$rc" = 24 ]; then
		rc=0
		carry --checksum --exclude='cur/*' --exclude='new/*' "$@" "rsync://mailmove@127.0.0.1:$port/store/" >/dev/null 2>>"$directory/errors" || rc=$?
	fi
	# 24: files vanished meanwhile, as they do while somebody works; the next pass has them.
	if [ "$rc" != 0 ] && [ "$rc" != 24 ]; then
		head -n 5 "$directory/errors" >&2
		exit 1
	fi
	for item in "$@"; do
		if [ -d "$item" ]; then find "$item" -type f \( -path '*/cur/*' -o -path '*/new/*' \) -printf '%s\n'; fi
	done 2>/dev/null | awk '{ n++; b += $1 } END { printf "%d %d ", n, b }'
	grep -c '^<f.*/\(cur\|new\)/' "$directory/carried" || :
}

# aside: messages are linked, since nobody writes into one; other files are copied.
aside() {
	op=$1 home=$2
	shift 2
	kept=${home%/*}/.mailmove-aside/$op/${home##*/}
	if [ -e "$kept" ] || [ ! -e "$home" ]; then return; fi
	rm -rf "$kept.part"
	mkdir -p "$kept.part"
	for item in "$@"; do
		[ -e "$home/$item" ] || [ -L "$home/$item" ] || continue
		mkdir -p "$(dirname "$kept.part/$item")"
		cp -al "$home/$item" "$kept.part/$item"
	done
	find "$kept.part" -type f ! -path '*/cur/*' ! -path '*/new/*' -exec sh -c '
		for file; do cp -p "$file" "$file.copy" && mv "$file.copy" "$file"; done' sh {} +
	sync "$kept.part"
	mv "$kept.part" "$kept"
}

# list: m PATH SIZE TIME of messages (content: and their digest), f PATH DIGEST of
# files that Dovecot or the user wrote, l PATH TARGET, d PATH. Indexes are caches.
list() {
	depth=$1 home=$2
	shift 2
	cd "$home" 2>/dev/null || return 0
	for item in "$@"; do
		[ -e "$item" ] || [ -L "$item" ] || continue
		find "$item" -type f \( -path '*/cur/*' -o -path '*/new/*' \) -printf 'm\t%p\t%s\t%Ts\n'
		find "$item" -type d ! -name cur ! -name new ! -name tmp -printf 'd\t%p\n'
		find "$item" -type l -printf 'l\t%p\t%l\n'
		find "$item" -type f ! -path '*/cur/*' ! -path '*/new/*' ! -path '*/tmp/*' ! -name 'dovecot.index*' ! -name 'dovecot.list.index*' \
			! -name '*.lock' ! -name maildirsize ! -name .dovecot.lda-dupes ! -name '*.svbin' -print0 | xargs -0r sha256sum | sed 's/^\([0-9a-f]*\)  \(.*\)/f\t\2\t\1/'
		if [ "$depth" = content ]; then
			find "$item" -type f \( -path '*/cur/*' -o -path '*/new/*' \) -print0 | xargs -0r sha256sum | sed 's/^\([0-9a-f]*\)  \(.*\)/c\t\2\t\1/'
		fi
	done
}

# boxes: d MAILBOX UIDVALIDITY, m MAILBOX UID and what belongs to the message, s
# MAILBOX of subscriptions, and with content one digest of all messages of a
# mailbox in the order of their UIDs. Dovecot opens the store for it.
boxes() {
	depth=$1 login=$2
	shift 2
	doveadm -f tab mailbox status -u "$login" uidvalidity '*' | awk -F '\t' 'NR > 1 { print "d\t" $1 "\t" $2 }'
	doveadm -f tab fetch -u "$login" 'mailbox uid guid flags date.received size.physical' mailbox '*' all | awk -F '\t' 'NR > 1 {
		n = split($4, flag, " ")
		for (i = 2; i <= n; i++) for (j = i; j > 1 && flag[j] < flag[j - 1]; j--) { t = flag[j]; flag[j] = flag[j - 1]; flag[j - 1] = t }
		flags = ""
		for (i = 1; i <= n; i++) if (flag[i] != "\\Recent") flags = flags " " flag[i]
		print "m\t" $1 " " $2 "\t" $6 " " $5 " " $3 flags
	}'
	doveadm mailbox list -s -u "$login" | sed 's/^/s\t/'
	if [ "$depth" = content ]; then
		doveadm mailbox list -u "$login" | while IFS= read -r box; do
			printf 'c\t%s\t%s\n' "$box" "$(doveadm fetch -u "$login" text mailbox "$box" all | sha256sum | cut -c 1-64)"
		done
	fi
	list "$depth" "$@"
}

method() {
	mkdir -p "$state/copies"
	echo "$2" >"$state/copies/$1.new"
	mv "$state/copies/$1.new" "$state/copies/$1"
}

methods() {
	for login in "$@"; do cat "$state/copies/$login" 2>/dev/null || echo none; done
}

command=$1
shift
case $command in
where | receive | send | aside | list | boxes | method | methods) "$command" "$@" ;;
forget)
	case $1 in
	"$state"/rsync/*) rm -rf "$1" ;;
	esac
	;;
*) die "unknown command $command" ;;
esac
