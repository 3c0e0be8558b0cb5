#!/bin/sh
# store.sh: the files of accounts. A store is a home and, below it, what belongs
# to the mail: the Maildir (box) and the Sieve scripts (items).
#
# On the server that is copied to, one pass at a time writes into a store. begin
# waits until the writers of earlier passes have ended, and whatever of them comes
# later finds that its pass is not the present one. All writers hold the store's
# lock (descriptor 9, which their children inherit), and look at the epoch once
# they have it. So when a mark has been raised and end-receivers has returned,
# nobody below the mark writes any more, nor can begin to.
#
# Before the command may stand: --epoch LINEAGE NUMBER. A server that holds a higher
# number for the lineage refuses with status 77 and prints "NUMBER HOLDER" (homes.sh).
# 78: the store is not the one that was copied before; 79: files cannot be copied
# as they are.
#
# On the server that is copied to:
#	begin PASS METHOD HOME UID GID ROOT BOX ITEM...
#	                    standard input: a secret; prints what is there (messages, items or
#	                    nothing) and the identity of the store that was copied here before, or -
#	aside PASS OP HOME ITEM...  keeps what is there, once for an op
#	serve PASS HOME     an rsync daemon on standard input and output
#	replica PASS HOME LOGIN     Dovecot's, on standard input and output
#	end PASS HOME ROOT ITEM...  makes durable what was written
#	forget PASS HOME    of a pass that failed
#	end-receivers LINEAGE NUMBER
#	                    ends the writers of operators below the number
#	methods HOME...     prints for each by which method its store was made, or none
# On the server that is copied from:
#	send PORT THERE IDENTITY HOME BOX ITEM...
#	                    standard input: the secret; THERE and IDENTITY are what begin printed;
#	                    prints messages, bytes, carried messages
#	backup LOGIN THERE IDENTITY HOME ROOT FORMAT
#	                    Dovecot's, on standard input and output
#	count LOGIN         prints messages and bytes
# On both; each record ends with NUL:
#	list DEPTH HOME ITEM...
#	boxes DEPTH LOGIN HOME ITEM...     as Dovecot sees the store; the items are scripts
#	where LOGIN...      a line of home, uid, gid, mail location, separated by tabs
#
# ROOT is the mail's absolute path, BOX the same below the home, or empty where the
# mail's files are not carried. Items are below the home; those of aside and end may
# also be absolute.
set -eu
umask 077
export LC_ALL=C
state=${MAILMOVE_STATE:-/var/lib/mailmove}

die() {
	printf '%s\n' "$*" >&2
	exit 1
}

refuse() {
	status=$1
	shift
	printf '%s\n' "$*" >&2
	exit "$status"
}

# put FILE: standard input becomes FILE, whole and durable, or nothing changes.
put() {
	cat >"$1.new"
	sync "$1.new"
	mv "$1.new" "$1"
	sync "${1%/*}"
}

work=
clean() { [ -z "$work" ] || rm -rf "$work"; }
trap clean EXIT
trap 'exit 1' HUP INT TERM
# On a disk, since what is listed may be large, and /tmp in memory.
make_work() { work=$(mktemp -d /var/tmp/mailmove.XXXXXXXX); }

# --- reading ----------------------------------------------------------------

# sound STATUS WHAT: a program that read WHAT ended with STATUS and its complaints
# are in $work/errors. Files vanish while somebody works, since a Maildir's change
# their names: what is not listed counts as different, and the next pass has it.
# Anything else is a store that cannot be read, of which nothing may be said.
sound() {
	if [ "$1" = 0 ]; then return; fi
	if [ -s "$work/errors" ] && ! grep -aqv ': No such file or directory$' "$work/errors"; then return; fi
	grep -av ': No such file or directory$' "$work/errors" | head -n 5 >&2 || :
	die "$2 cannot be read whole"
}

# present PATH: it exists. Unlike test, it knows absence from an error.
present() {
	if stat -- "$1" >/dev/null 2>"$work/errors"; then return 0; fi
	sound 1 "$1"
	return 1
}

# seek ROOT EXPRESSION...: find, that misses nothing.
seek() {
	status=0
	find "$@" 2>"$work/errors" || status=$?
	sound "$status" "$1"
}

# digests KIND ROOT EXPRESSION...: a record of KIND, digest and path of each file.
# With -z sha256sum does not escape names (coreutils 8.25).
digests() {
	kind=$1
	shift
	seek "$@" -print0 >"$work/names"
	echo 0 >"$work/status"
	{ xargs -0r sha256sum -z -- <"$work/names" 2>"$work/errors" || echo $? >"$work/status"; } | sed -z "s/^\([0-9a-f]*\)  /$kind\t\1\t/"
	sound "$(cat "$work/status")" "$1"
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

# list: m SIZE TIME PATH of messages (content: and c DIGEST PATH), f DIGEST PATH of
# files that Dovecot or the user wrote, l PATH TARGET, d PATH. Indexes are caches.
list() {
	depth=$1 home=$2
	shift 2
	present "$home" || return 0
	seek "$home/" -mindepth 1 -printf '' -quit
	cd "$home"
	for item in "$@"; do
		item=./$item
		present "$item" || continue
		seek "$item" -type f \( -path '*/cur/*' -o -path '*/new/*' \) -printf 'm\t%s\t%Ts\t%p\0'
		seek "$item" -type d ! -name cur ! -name new ! -name tmp -printf 'd\t%p\0'
		seek "$item" -type l -printf 'l\t%p\t%l\0'
		digests f "$item" -type f ! -path '*/cur/*' ! -path '*/new/*' ! -path '*/tmp/*' ! -name 'dovecot.index*' ! -name 'dovecot.list.index*' \
			! -name '*.lock' ! -name maildirsize ! -name .dovecot.lda-dupes ! -name '*.svbin'
		if [ "$depth" = content ]; then
			digests c "$item" -type f \( -path '*/cur/*' -o -path '*/new/*' \)
		fi
	done
}

# boxes: b UIDVALIDITY MAILBOX, u SIZE, what else belongs to the message, MAILBOX and
# UID, s MAILBOX of subscriptions, and with content c and one digest of all messages
# of a mailbox in the order of their UIDs. Dovecot opens the store for it. Mailboxes
# and messages that vanish meanwhile are errors to it: it is asked again then.
boxes() {
	depth=$1 login=$2
	shift 2
	tries=1
	until ask_boxes >"$work/boxes" 2>"$work/errors"; do
		tries=$((tries + 1))
		if [ "$tries" -gt 3 ]; then
			head -n 5 "$work/errors" >&2
			die "Dovecot does not tell what the store of $login holds"
		fi
		sleep 0.3
	done
	tr '\n' '\0' <"$work/boxes"
	list "$depth" "$@"
}

# Each answer is taken whole before a filter sees it, since a pipeline's status is
# that of its last program.
ask_boxes() {
	doveadm -f tab mailbox status -u "$login" uidvalidity '*' >"$work/answer" || return
	awk -F '\t' 'NR > 1 { print "b\t" $2 "\t" $1 }' "$work/answer" || return
	doveadm -f tab fetch -u "$login" 'uid guid flags date.received size.physical mailbox' mailbox '*' all >"$work/answer" || return
	awk -F '\t' 'NR > 1 {
		n = split($3, flag, " ")
		for (i = 2; i <= n; i++) for (j = i; j > 1 && flag[j] < flag[j - 1]; j--) { t = flag[j]; flag[j] = flag[j - 1]; flag[j - 1] = t }
		flags = ""
		for (i = 1; i <= n; i++) if (flag[i] != "\\Recent") flags = flags " " flag[i]
		print "u\t" $5 "\t" $4 " " $2 flags "\t" $6 " " $1
	}' "$work/answer" || return
	doveadm mailbox list -s -u "$login" >"$work/answer" || return
	sed 's/^/s\t/' "$work/answer" || return
	[ "$depth" = content ] || return 0
	doveadm mailbox list -u "$login" >"$work/answer" || return
	rm -f "$work/failed"
	while IFS= read -r box; do
		digest=$({ doveadm fetch -u "$login" text mailbox "$box" all </dev/null || : >"$work/failed"; } | sha256sum | cut -c 1-64)
		[ ! -e "$work/failed" ] || return
		printf 'c\t%s\t%s\n' "$digest" "$box"
	done <"$work/answer"
}

# --- passes into a store ----------------------------------------------------

# check_epoch: the operator who runs this has not been overtaken by another.
check_epoch() {
	[ -n "$lineage" ] && [ -e "$state/homes/epochs/$lineage" ] || return 0
	read -r held _ <"$state/homes/epochs/$lineage"
	if [ "$held" -gt "$epoch" ]; then
		cat "$state/homes/epochs/$lineage"
		exit 77
	fi
}

# key HOME: the name under which we keep what belongs to a store.
key() { printf '%s' "$1" | sha256sum | cut -c 1-32; }

# identity ROOT: the UIDVALIDITY and the GUID of a Maildir's INBOX, which it keeps
# for life and a copy has too; - where Dovecot has not noted them.
identity() {
	if [ ! -f "$1/dovecot-uidlist" ]; then
		echo -
		return
	fi
	awk 'NR == 1 { for (i = 2; i <= NF; i++) if ($i ~ /^[VG]/) id = id $i } END { print id == "" ? "-" : id }' "$1/dovecot-uidlist"
}

begin() {
	pass=$1 method=$2 home=$3 uid=$4 gid=$5 root=$6 box=$7
	shift 7
	check_epoch
	make_work
	store=$state/stores/$(key "$home")
	mkdir -p "$store" "$state/passes"
	exec 9>>"$store/lock"
	flock -w 30 9 || refuse 75 "another pass into $home goes on"
	# A copy that was moved out of the way is begun anew.
	if ! present "$root"; then rm -f "$store/identity" "$store/failed"; fi
	[ ! -e "$store/failed" ] || refuse 80 "the disk has not taken what was copied into $home ($store/failed)"
	echo "${lineage:--} $epoch $pass" | put "$store/pass"
	: >"$state/passes/${store##*/}"
	check_epoch
	if [ -n "$box" ] && [ "$(readlink -m "$home/$box")" != "$(readlink -m "$home")/$box" ]; then
		refuse 79 "$home/$box is reached by a symbolic link, which rsync would replace"
	fi
	if ! present "$home"; then
		parent=${home%/*}
		if ! present "$parent"; then
			mkdir -p "$parent"
			chown -h "$uid:$gid" "$parent"
			sync "${parent%/*}"
		fi
		mkdir "$home"
		chown -h "$uid:$gid" "$home"
	fi
	# Older than all that the pass writes; a pass that failed leaves the older one.
	[ -e "$store/dirty" ] || : >"$store/dirty"
	echo "$method" | put "$store/method"
	rm -rf "$store/rsync"
	mkdir "$store/rsync"
	printf 'mailmove:%s\n' "$(cat)" >"$store/rsync/secrets"
	# A link, since rsync would find more in a path than its characters.
	ln -s "$home" "$store/rsync/home"
	cat >"$store/rsync/rsyncd.conf" <<-END
		use chroot = yes
		reverse lookup = no
		log file = $store/rsync/log
		[store]
		path = $store/rsync/home
		uid = $uid
		gid = $gid
		read only = no
		auth users = mailmove
		secrets file = $store/rsync/secrets
	END
	there "$home" "$root" "$@"
	if [ -e "$store/identity" ]; then cat "$store/identity"; else echo -; fi
}

# there HOME ROOT ITEM...: what a store holds. Where messages are no files of their
# own, any file counts.
there() {
	home=$1 root=$2
	shift 2
	if present "$root"; then
		if [ -d "$root/cur" ]; then
			seek "$root" -type f \( -path '*/cur/*' -o -path '*/new/*' \) -print -quit >"$work/found"
		else
			seek "$root" -type f -print -quit >"$work/found"
		fi
		if [ -s "$work/found" ]; then
			echo messages
			return
		fi
	fi
	for item in "$@"; do
		if present "$home/$item"; then
			echo items
			return
		fi
	done
	echo nothing
}

# occupy PASS HOME: from here on this process is a writer of the pass.
occupy() {
	store=$state/stores/$(key "$2")
	[ -e "$store/lock" ] || die "no pass into $2 has begun"
	exec 9>>"$store/lock"
	flock -s -w 30 9 || refuse 75 "another pass into $2 goes on"
	read -r _ _ present_pass <"$store/pass"
	[ "$present_pass" = "$1" ] || refuse 75 "another pass into $2 has begun"
	check_epoch
}

serve() {
	occupy "$1" "$2"
	exec rsync --server --daemon --config="$store/rsync/rsyncd.conf" .
}

replica() {
	occupy "$1" "$2"
	exec doveadm dsync-server -u "$3"
}

# aside: what is in the home is kept beside it, other things beside themselves, where
# links are possible.
aside() {
	occupy "$1" "$3"
	op=$2 home=$3
	shift 3
	make_work
	if [ -e "$store/aside" ] && [ "$(cat "$store/aside")" = "$op" ]; then return; fi
	for item in "$@"; do
		case $item in
		/*) keep "$item" "${item%/*}/.mailmove-aside/$op/${item##*/}" ;;
		*) keep "$home/$item" "${home%/*}/.mailmove-aside/$op/${home##*/}/$item" ;;
		esac
	done
	echo "$op" | put "$store/aside"
}

# keep FROM TO: messages are linked where they can be, since nobody writes into one;
# other files are copied. TO comes into being whole.
keep() {
	if present "$2" || ! present "$1"; then return; fi
	rm -rf "$2.part"
	mkdir -p "${2%/*}"
	if [ -d "$1" ]; then # also behind a link
		mkdir "$2.part"
		link=l
		[ "$(stat -L -c %d "$1")" = "$(stat -c %d "$2.part")" ] || link=
		cp -a$link -- "$1/." "$2.part/"
	else
		cp -a -- "$1" "$2.part"
	fi
	# shellcheck disable=SC2016 # expanded by that shell
	find "$2.part" -type f -links +1 ! -path '*/cur/*' ! -path '*/new/*' -exec sh -c '
		for file; do cp -p "$file" "$file.copy" && mv "$file.copy" "$file" || exit 1; done' sh {} +
	sync -f "${2%/*}"
	mv "$2.part" "$2"
	sync "${2%/*}"
}

# few is how many files and directories are flushed one by one.
few=200

# end: what the pass wrote is on the disk when it returns; only then may a handoff
# be committed. Nothing is written by the verification that follows, but where
# Dovecot opens what dsync has made, and then no more than its caches and places.
#
# Measured: rsync --fsync makes a copy of 2000 small messages three times slower and
# leaves out directories, and rsync before 3.2.4 does not have it; fsync of the 20
# files that a last difference has takes 5 to 20 ms whatever else the server does;
# syncfs of a file system on which others write had to write out all of theirs, and
# took half a second. So few files are flushed one by one and many by syncfs, as in
# the early passes, for which nobody waits. They are found by their change time,
# which no copying sets, from the first pass on that was not flushed. Dovecot itself
# (mail_fsync=optimized) flushes messages that dsync saves, not indexes and scripts.
end() {
	occupy "$1" "$2"
	home=$2 root=$3
	shift 3
	make_work
	cd "$home"
	: >"$work/wrote"
	if present "$root"; then seek "$root" \( -type f -o -type d \) -cnewer "$store/dirty" -print0 >>"$work/wrote"; fi
	for item in "$@"; do
		case $item in
		/*) ;;
		*) item=./$item ;;
		esac
		present "$item" || continue
		seek "$item" \( -type f -o -type d \) -cnewer "$store/dirty" -print0 >>"$work/wrote"
	done
	status=0
	if [ "$(tr -dc '\0' <"$work/wrote" | wc -c)" -le "$few" ]; then
		# The home and its place: they may be new.
		printf '%s\0%s\0' "$home" "${home%/*}" >>"$work/wrote"
		xargs -0r sync -- <"$work/wrote" 2>"$work/errors" || status=$?
	else
		sync -f "$home" 2>"$work/errors" || status=$?
		if present "$root"; then sync -f "$root" 2>>"$work/errors" || status=$?; fi
	fi
	if [ "$status" != 0 ]; then
		# It cannot be asked again: the kernel reports a failed write once.
		cp "$work/errors" "$store/failed"
		head -n 5 "$work/errors" >&2
		refuse 80 "the disk has not taken what was copied into $home"
	fi
	found=$(identity "$root")
	echo "$found" | put "$store/identity"
	rm -f "$store/dirty"
	forget_pass
}

forget_pass() {
	rm -rf "$store/rsync"
	rm -f "$state/passes/${store##*/}"
}

forget() {
	occupy "$1" "$2"
	forget_pass
}

# end_receivers: see above. The lock is free when the last process that had it from
# a writer is gone, so nothing need be known of how rsync and Dovecot fork.
end_receivers() {
	for mark in "$state"/passes/*; do
		lock=$state/stores/${mark##*/}/lock
		[ -e "$lock" ] || continue
		i=0
		until flock -n "$lock" true; do
			# Whoever has not written this yet has still to look at the epoch.
			read -r theirs number _ <"${lock%/*}/pass" || break
			if [ "$theirs" != "$1" ] || [ "$number" -ge "$2" ]; then break; fi
			i=$((i + 1))
			signal=TERM
			[ "$i" -le 30 ] || signal=KILL
			[ "$i" -le 300 ] || die 'what an operator who was overtaken writes here does not end: see ps and the kernel'"'"'s log'
			holders "$lock" | while read -r pid; do kill -s "$signal" "$pid" 2>/dev/null || :; done
			sleep 0.1
		done
	done
}

# holders LOCK: the processes that have it open.
holders() {
	find /proc/[0-9]*/fd -maxdepth 1 -lname "$(readlink -f "$1")" 2>/dev/null | cut -d / -f 3 | sort -u
}

methods() {
	for home in "$@"; do cat "$state/stores/$(key "$home")/method" 2>/dev/null || echo none; done
}

# --- sending ----------------------------------------------------------------

# same_store THERE IDENTITY HOME ROOT FORMAT: the store is still the one that was copied
# before. If its volume is not mounted there is nothing, or what Dovecot made for
# the next message that came; a pass would make the copy, which has all, equal to that.
same_store() {
	if [ "$1" != nothing ] && [ -z "$(find "$3/" -mindepth 1 -print -quit 2>/dev/null)" ]; then
		refuse 78 "$3 is not there or empty, and its copy is not"
	fi
	[ -n "$4" ] || return 0
	found=$(identity "$4")
	if [ "$2" != - ] && [ "$found" != - ] && [ "$found" != "$2" ]; then
		refuse 78 "$4 was made anew since it was copied: its INBOX is $found and was $2"
	fi
	[ "$1" = messages ] || return 0
	if [ "$5" = maildir ]; then set -- "$1" "$2" "$3" "$4/cur"; fi
	[ -d "$4" ] || refuse 78 "$4 is not there, and the copy has messages"
}

# carry OPTION... SOURCE...: what is only there is removed only there; owner and group
# are the peer's. The box itself is protected, so that nothing removes it as a
# whole, should it vanish this moment. What is left out goes with its directory (p).
carry() {
	rsync -rlptR --delete --delete-missing-args ${box:+"--filter=P /$box"} --timeout=600 --password-file="$work/secret" \
		--filter='-p tmp/*' --include='*.lock/' --filter='-p *.lock' "$@" "rsync://mailmove@127.0.0.1:$port/store/"
}

send() {
	port=$1 there=$2 identity=$3 home=$4 box=$5
	shift 5
	make_work
	cat >"$work/secret"
	# A file system stays mounted while it is somebody's working directory.
	cd "$home" 2>/dev/null || :
	same_store "$there" "$identity" "$home" "${box:+$home/$box}" maildir
	if ! present "$home"; then
		# Nobody has written to this account or logged in, and there is no copy either.
		echo 0 0 0
		return
	fi
	if [ -n "$box" ]; then
		if present "$home/$box"; then
			seek "$home/$box" -type l -print >"$work/links"
			[ ! -s "$work/links" ] || refuse 79 "$(head -n 1 "$work/links") is a symbolic link, of which rsync carries the name and not what it leads to"
			[ "$(readlink -m "$home/$box")" = "$(readlink -m "$home")/$box" ] || refuse 79 "$home/$box is reached by a symbolic link"
		fi
	fi
	# -R keeps the part after "./".
	for item in "$@"; do
		shift
		set -- "$@" "$home/./$item"
	done
	rc=0
	carry --out-format='%i %n' "$@" >"$work/carried" 2>"$work/errors" || rc=$?
	# Files that Dovecot rewrites may change within a second and keep their size.
	if [ "$rc" = 0 ] || [ "$rc" = 24 ]; then
		rc=0
		carry --checksum --exclude='cur/*' --exclude='new/*' "$@" >/dev/null 2>>"$work/errors" || rc=$?
	fi
	# 24: files vanished meanwhile, as they do while somebody works; the next pass has them.
	if [ "$rc" != 0 ] && [ "$rc" != 24 ]; then
		head -n 5 "$work/errors" >&2
		exit 1
	fi
	: >"$work/messages"
	for item in "$@"; do
		present "$item" || continue
		seek "$item" -type f \( -path '*/cur/*' -o -path '*/new/*' \) -printf '%s\n' >>"$work/messages"
	done
	awk '{ n++; b += $1 } END { printf "%d %d ", n, b }' "$work/messages"
	grep -c '^<f.*/\(cur\|new\)/' "$work/carried" || :
}

# backup: Dovecot's one-way replication; what it would run on the peer are the
# standard input and output of this script itself.
backup() {
	same_store "$2" "$3" "$4" "$5" "$6"
	exec 3<&0 4>&1 </dev/null >&2
	# shellcheck disable=SC2016 # expanded by that shell
	doveadm backup -u "$1" sh -c 'cat <&3 & cat >&4; kill $! 2>/dev/null; :'
}

count() {
	make_work
	doveadm -f tab mailbox status -u "$1" 'messages vsize' '*' >"$work/answer"
	awk -F '\t' 'NR > 1 { n += $2; b += $3 } END { printf "%d %d", n, b }' "$work/answer"
}

lineage=
epoch=0
if [ "$1" = --epoch ]; then
	lineage=$2 epoch=$3
	shift 3
fi
command=$1
shift
case $command in
where | begin | aside | serve | replica | end | forget | methods | send | backup | count) "$command" "$@" ;;
list | boxes) make_work && "$command" "$@" ;;
end-receivers) end_receivers "$@" ;;
*) die "unknown command $command" ;;
esac
