#!/bin/sh
# homes.sh: what a mail server itself must know of a move: the routes and logins
# of accounts whose mail or sessions go elsewhere, and the handoffs under way.
#
# The tables routes, logins, trusts and the handoffs' decision files below
# $state/homes are the truth. Postfix' maps and Dovecot's passwd-files are derived
# from them and can be made again at any time; every command does so for what it
# changed, and "tick", which cron runs each minute, for what a crash left undone.
# Tables are replaced by rename under one lock, so every instant shows the state
# before or after a command. Whoever waits for a login waits for that lock, so nothing
# slow is done under it: maps are built under a lock of their own, once for all that
# was changed meanwhile.
#
# Before the command may stand: --epoch LINEAGE NUMBER. A server that holds a higher
# number for the lineage refuses with status 77 and prints "NUMBER HOLDER". "routes"
# and "logins" refuse with 76 where an account would wait and no timer would free it,
# and with 75 if they have only now completed what had been decided about an account.
#
#	fence LINEAGE NUMBER HOLDER
#	check               only looks at the epoch
#	trust PEER DOMAIN on|off
#	routes OP           standard input: ADDRESS MODE HOST PORT
#	logins OP           standard input: ADDRESS LOGIN MODE HOST NAME IMAP POP3
#	arm OP SECONDS      standard input: a routes line and a logins line, as after commit;
#	                    prints armed, committed, busy if an earlier one was just completed,
#	                    or away if the account is not at home here
#	commit OP           prints committed or expired
#	disarm OP           prints committed or expired
#	handoff OP          prints never armed, armed, committed or expired
#	refresh             standard input: addresses whose password has changed
#	tick                what has to be done by now
#	derive              makes Postfix' maps from the tables, also where they seem right
#	resume              deliveries that a claim has paused go on
#	show                prints the tables
#
# Modes of routes: local hold relay left. Modes of logins: open closed parked
# proxied left. "left" is relay and proxied for an account whose home was here:
# what the peer hands over is passed on as well (see the package's comment).
set -eu
umask 077
# In awk, FILENAME == ARGV[1] is the first file also where that is empty; NR == FNR
# would take the second one for it.
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

state=${MAILMOVE_STATE:-/var/lib/mailmove}
homes=$state/homes
maps=/etc/postfix/mailmove
doors=/etc/dovecot/mailmove
services='imap pop3 sieve'

die() {
	printf '%s\n' "$*" >&2
	exit 1
}

# setting NAME: a line NAME=value of the file that the claim wrote.
setting() { sed -n "s/^$1=//p" "$homes/settings"; }

# put FILE: standard input becomes FILE, whole and durable, or nothing changes.
put() {
	cat >"$1.new"
	sync "$1.new"
	mv "$1.new" "$1"
	sync "${1%/*}"
}

# check_epoch: the operator who runs this has not been overtaken by another.
check_epoch() {
	[ -n "$lineage" ] && [ -e "$homes/epochs/$lineage" ] || return 0
	read -r held _ <"$homes/epochs/$lineage"
	if [ "$held" -gt "$epoch" ]; then
		cat "$homes/epochs/$lineage"
		exit 77
	fi
}

fence_locked() {
	lineage=$1 epoch=$2
	check_epoch
	# Two operators with copies of one state count alike.
	if [ -e "$homes/epochs/$1" ] && read -r held holder <"$homes/epochs/$1" && [ "$held" = "$2" ] && [ "$holder" != "$3" ]; then
		cat "$homes/epochs/$1"
		exit 77
	fi
	mkdir -p "$homes/epochs"
	echo "$2 $3" | put "$homes/epochs/$1"
}

# locked COMMAND...: run it alone. Nothing that waits for mail or users to move
# is done under the lock, since the dead-man's timer needs it.
locked() {
	(
		flock -w 60 9 || die 'another command holds the lock of the homes for a minute'
		check_epoch
		"$@"
	) 9>"$homes/lock"
}

# merge TABLE: standard input replaces the lines of TABLE with the same first
# word; a line whose mode, word $2, is local or open only removes.
merge() {
	cat >"$homes/$1.changes"
	[ -s "$homes/$1.changes" ] || return 0
	awk -v mode="$2" '
		FILENAME == ARGV[1] { changed[$1] = 1; if ($mode != "local" && $mode != "open") print; next }
		!($1 in changed)' "$homes/$1.changes" "$homes/$1" >"$homes/$1.merged"
	sort -o "$homes/$1.merged" "$homes/$1.merged"
	put "$homes/$1" <"$homes/$1.merged"
	rm -f "$homes/$1.changes" "$homes/$1.merged"
}

# --- mail -------------------------------------------------------------------

# build MAP: the text MAP becomes the map that Postfix reads, by rename. Built in
# place, a map that is half written makes smtpd answer "550 User unknown".
build() {
	type=$(setting map_type)
	case $type in
	hash | btree) ext=.db ;;
	lmdb) ext=.lmdb ;;
	cdb) ext=.cdb ;;
	texthash) ext= ;;
	esac
	if [ -n "$ext" ]; then
		rm -f "$maps/$1.in" "$maps/$1.in$ext"
		cp "$maps/$1.new" "$maps/$1.in"
		postmap "$type:$maps/$1.in"
		chmod 644 "$maps/$1.in$ext"
		sync "$maps/$1.in$ext"
	fi
	chmod 644 "$maps/$1.new"
	sync "$maps/$1.new"
	mv "$maps/$1.new" "$maps/$1"
	if [ -n "$ext" ]; then
		mv "$maps/$1.in$ext" "$maps/$1$ext"
		rm -f "$maps/$1.in"
	fi
	sync "$maps"
}

# derived: return when the maps follow the tables, as they are now or later.
derived() {
	(
		flock -w 60 7 || die 'another command has been building maps for a minute'
		for table in routes trusts kept; do cp "$homes/$table" "$work/$table"; done
		# kept is written first: a route that is seen with an older one is derived again.
		cat "$work/routes" "$work/trusts" "$work/kept" >"$work/tables"
		if cmp -s "$work/tables" "$homes/derived"; then return; fi
		rm -f "$homes/derived"
		derive_mail
		mv "$work/tables" "$homes/derived"
	) 7>"$homes/deriving"
}

# derive_mail: the maps, from the tables in $work. Each transport map has a number of
# its own in the probe's entry, by which settle recognises it.
#
# What the peer hands over is delivered here or stays with the peer; it is never
# passed on, so that no message can go round. While an account is away it is kept
# by a filter, and also once it is at home after having been away, since a queue
# manager that has not seen the new map yet would pass it on. While it is held or
# has left, the peer is told to try again later: it then resolves anew.
#
# Where accounts are users of the system, local(8) delivers to a name, whatever its
# domain, and expands aliases to names at this host. A route is therefore made for
# each of the domains, and an alias brings the mail back to the account's address,
# by which the peer knows it.
derive_mail() {
	number=$(($(cat "$homes/number" 2>/dev/null || echo 0) + 1))
	echo "$number" | put "$homes/number"
	awk '{ print $1, "OK" }' "$work/trusts" | sort -u >"$maps/peers.new"
	awk '{ print $2, "OK" }' "$work/trusts" | sort -u >"$maps/domains.new"
	awk -v to="$(setting delivery)" '
		FILENAME == ARGV[1] { here[$1] = 1; next }
		$2 == "hold" || $2 == "left" { print $1, "450 4.3.2 The account is being handed over; try again"; delete here[$1] }
		$2 == "relay" { here[$1] = 1 }
		END { for (address in here) print address, "FILTER", to }' "$work/kept" "$work/routes" >"$maps/kept.new"
	{
		echo "probe.mailmove.invalid mmseen:$number"
		awk '
			$2 == "hold" { print $1, "mmhold:unix:private/mailmove-hold" }
			$2 == "relay" { print $1, "mmrelay:[" $3 "]:" $4 }
			$2 == "left" { print $1, "mmleft:[" $3 "]:" $4 }' "$work/routes" | everywhere
	} >"$maps/transport.new"
	if [ "$(setting users)" = system ]; then
		awk '{ name = $1; sub(/@.*/, "", name) } !(name in seen) { seen[name] = 1; print name, $1 }' "$work/routes" >"$maps/names.new"
		build names
	fi
	for map in peers domains kept transport; do build "$map"; done
}

# everywhere: standard input, lines of an address and what belongs to it, and where
# accounts are users of the system the same for the name in each of their domains.
everywhere() {
	if [ "$(setting users)" != system ]; then
		cat
		return
	fi
	postconf -xh mydestination | tr '[:upper:]' '[:lower:]' | tr -s ', \t' '\n' | grep -v -e '[/:]' -e '^$' | sort -u >"$work/destinations"
	cat >"$work/here"
	cat "$work/here"
	awk '
		FILENAME == ARGV[1] { domain[$1]; next }
		{ here[$1]; line[++n] = $0 }
		END {
			for (i = 1; i <= n; i++) {
				rest = line[i]; sub(/^[^ ]*/, "", rest)
				name = line[i]; sub(/@.*/, "@", name)
				for (d in domain) if (!((name d) in here)) { here[name d]; print name d rest }
			}
		}' "$work/destinations" "$work/here"
}

# queued QUEUE: the ids of messages in QUEUE for one of the addresses in
# $work/wanted, plus-addresses included, or for any address of an "@domain" in it.
# One message is one line of JSON; a quote within a string is escaped there, so the
# separator is unmistakable.
queued() {
	postqueue -j >"$work/queue" || die 'Postfix does not tell what is queued'
	awk -v queue="\"queue_name\": \"$1\"" -v delimiters="$(setting delimiter)" '
		FILENAME == ARGV[1] { wanted[$1] = 1; next }
		index($0, queue) {
			n = split($0, part, "\"address\": \"")
			id = $0; sub(/.*"queue_id": "/, "", id); sub(/".*/, "", id)
			for (i = 2; i <= n; i++) {
				address = part[i]; sub(/".*/, "", address); address = tolower(address)
				at = index(address, "@"); plain = address
				for (j = 2; j < at; j++)
					if (index(delimiters, substr(address, j, 1))) {
						plain = substr(address, 1, j - 1) substr(address, at); break
					}
				if ((address in wanted) || (plain in wanted) || (substr(address, at) in wanted)) { print id; break }
			}
		}' "$work/wanted" "$work/queue" | sort -u
}

# settle: return when the queue manager uses the map of now. It keeps its last
# answer for 30 seconds and trivial-rewrite keeps a replaced map for 10, so only a
# message that went the new way proves it; each probe has an address of its own.
# One command probes at a time, since what it finds serves all. Where local(8)
# resolves what aliases lead to, it may ask another trivial-rewrite than the queue
# manager does, and those ten seconds have to pass.
settle() {
	want=$(cat "$homes/number")
	(
		flock 8
		probe
	) 8>"$homes/probing"
	[ "$(setting users)" = system ] || return 0
	while [ $(($(date +%s) - $(stat -c %Z "$maps/transport"))) -lt 12 ]; do sleep 0.5; done
}

# seen: a map at least as new as the one that is wanted has been in use.
seen() {
	for found in "$(setting seen)"/*; do
		number=${found##*/}
		if [ "$number" = '*' ]; then continue; fi
		if [ "$number" -ge "$want" ]; then return 0; fi
		rmdir "$found" 2>/dev/null || :
	done
	return 1
}

probe() {
	i=0
	while [ "$i" -lt 60 ]; do
		if seen; then return; fi
		i=$((i + 1))
		# One that is not taken is no reason to give up: the next one follows.
		printf 'Subject: mailmove looks which map is in use\n\n' |
			sendmail -i -f '' "$want-$i-$$@probe.mailmove.invalid" 2>"$work/unsent" || :
		j=0
		while [ "$j" -lt 5 ]; do
			sleep 0.2
			if seen; then return; fi
			j=$((j + 1))
		done
	done
	die 'Postfix has not taken the new routes into use within a minute; see the mail log for mailmove.invalid'"$(sed 's/^/; /' "$work/unsent")"
}

# finish_deliveries: return when no delivery that was begun by an older map goes on.
# What is delivered to a user of the system may be queued for an alias.
finish_deliveries() {
	everywhere <"$work/addresses" >"$work/wanted"
	[ "$(setting users)" != system ] || sed 's/^/@/' "$work/destinations" >>"$work/wanted"
	queued active >"$work/before"
	i=0
	while [ -s "$work/before" ]; do
		i=$((i + 1))
		[ "$i" -le 1500 ] || die "a delivery has been going on for five minutes: message $(head -n 1 "$work/before")"
		sleep 0.2
		queued active >"$work/now"
		comm -12 "$work/before" "$work/now" >"$work/both"
		mv "$work/both" "$work/before"
	done
}

# unfilter: a message that was kept although the account was away says in its
# queue file where it goes, whatever the maps say. Queued anew, it obeys them.
unfilter() {
	everywhere <"$work/addresses" >"$work/wanted"
	queued deferred >"$work/kept"
	while read -r id; do
		if postcat -eq "$id" 2>/dev/null | grep -aq "content_filter: $(setting delivery)"; then
			postsuper -r "$id" 2>/dev/null || :
		fi
	done <"$work/kept"
	# Else it would look once a minute. Who is kicked while it ends dies of SIGPIPE.
	if [ -s "$work/kept" ]; then postkick public pickup W || postkick public pickup W || :; fi
}

# release: what was held for the addresses is tried now. What was queued for a user of
# the system in another domain, before the alias was there, is queued anew to meet it.
release() {
	everywhere <"$work/addresses" >"$work/all"
	awk 'FILENAME == ARGV[1] { address[$1]; next } !($1 in address)' "$work/addresses" "$work/all" >"$work/wanted"
	if [ -s "$work/wanted" ]; then
		queued deferred >"$work/elsewhere"
		while read -r id; do postsuper -r "$id" 2>/dev/null || :; done <"$work/elsewhere"
	fi
	cp "$work/addresses" "$work/wanted"
	queued deferred >"$work/held"
	while read -r id; do postqueue -i "$id" || :; done <"$work/held"
}

# --- logins -----------------------------------------------------------------

# hash_of LOGIN: the password hash as this server keeps it.
hash_of() {
	case $(setting users) in
	system) getent shadow "$1" | awk -F: '$2 != "" { print "{CRYPT}" $2 }' ;;
	*) awk -F: -v login="$1" -v scheme="$(setting scheme)" '
		$1 == login { print ($2 ~ /^[{]/ ? "" : "{" scheme "}") $2; exit }' "$(setting users)" ;;
	esac
}

# door DIRECTORY SERVICE LOGIN LINE: the passwd-file that Dovecot finds there.
door() {
	printf '%s\n' "$4" >"$doors/$1/$2/.$3.new"
	chgrp "$(setting auth_group)" "$doors/$1/$2/.$3.new"
	chmod 640 "$doors/$1/$2/.$3.new"
	sync "$doors/$1/$2/.$3.new"
	mv "$doors/$1/$2/.$3.new" "$doors/$1/$2/$3"
}

shut() { for service in $services; do rm -f "$doors/$1/$service/$2"; done; }

# proxy_fields SERVICE HOST NAME IMAP POP3: where a session goes. Every server knows
# an account by its address.
proxy_fields() {
	case $1 in
	imap) port=$4 plain=143 tls=993 ;;
	pop3) port=$5 plain=110 tls=995 ;;
	sieve) port=4190 plain=4190 tls=none ;;
	esac
	if [ "$3" = - ] || [ "$(setting verify)" = false ]; then
		where="host=$2" check=any-cert
	else
		where="host=$3 hostip=$2" check=yes
	fi
	if [ "$port" = "$tls" ]; then
		echo "proxy=y $where port=$port ssl=$check"
	else
		[ "$port" != 0 ] || port=$plain
		echo "proxy=y $where port=$port starttls=$check"
	fi
}

# derive_login ADDRESS LOGIN MODE HOST NAME IMAP POP3: the passwd-files of one
# account, but for its guard. Held comes last: who waits is served by what is then.
derive_login() {
	login=$2
	if [ "$3" = open ]; then
		for old in closed guard kept away held; do shut "$old" "$login"; done
		rm -f "$doors/guard/lmtp/$login" "$doors/guard/lda/$login"
		return
	fi
	hash=$(hash_of "$login")
	if [ -z "$hash" ]; then
		# The account is still to be made here, and "refresh" will come with it.
		for old in closed kept away held; do shut "$old" "$login"; done
		return
	fi
	for service in $services; do
		case $3 in
		closed) door closed "$service" "$login" "$login:" ;;
		parked) door held "$service" "$login" "$login:$hash::::::" ;;
		proxied | left)
			fields=$(proxy_fields "$service" "$4" "$5" "$6" "$7")
			# Without a proxy nopassword would let anybody in.
			case $fields in proxy=y\ host=[!\ ]*) ;; *) die "there is nowhere to proxy $login to" ;; esac
			# Whether the password is right, the home says: it may have been changed there.
			door away "$service" "$login" "$login::::::: $fields destuser=$1 nopassword=y"
			;;
		esac
		[ "$3" != proxied ] || door kept "$service" "$login" "$login:$hash:::::: mailmove=kept"
	done
	case $3 in
	closed) door closed smtp "$login" "$login:" ;;
	parked) shut kept "$login" && shut away "$login" ;;
	left) shut kept "$login" ;;
	esac
	[ "$3" = closed ] || { shut closed "$login" && rm -f "$doors/closed/smtp/$login"; }
	[ "$3" = parked ] || shut held "$login"
}

# flush_auth: an authentication cache would go on answering as before.
flush_auth() {
	[ "$(doveconf -h auth_cache_size 2>/dev/null || echo 0)" = 0 ] || doveadm auth cache flush >/dev/null
}

# sessions: "LOGIN PID" of each session of the logins in $work/logins.
sessions() {
	doveadm -f tab who -1 >"$work/who" || die 'Dovecot does not tell who is logged in'
	awk -F '\t' '
		FILENAME == ARGV[1] { wanted[$1] = 1; next }
		FNR > 1 && ($1 in wanted) && $2 != "lmtp" { print $1, $3 }' "$work/logins" "$work/who"
}

# entering: processes that serve a session which Dovecot does not list yet.
entering() {
	ps -eo pid=,comm= | awk '$2 == "imap" || $2 == "pop3" || $2 == "managesieve" { print $1 }' | sort >"$work/processes"
	doveadm -f tab who -1 2>/dev/null | awk -F '\t' 'FNR > 1 { print $3 }' | sort -u >"$work/listed"
	comm -23 "$work/processes" "$work/listed"
}

# empty: end the sessions of the logins in $work/logins. A login that passed the
# guard before it was there may still be on its way in: it is waited for.
empty() {
	entering >"$work/entering"
	i=0
	quiet=0
	while [ "$quiet" -lt 2 ]; do
		i=$((i + 1))
		[ "$i" -le 600 ] || die "sessions do not end: $(sessions | head -n 3 | tr '\n' ' ')"
		sessions >"$work/sessions"
		if [ -s "$work/sessions" ]; then
			quiet=0
			awk '{ print $1 }' "$work/sessions" | sort -u | while read -r login; do doveadm kick "$login" >/dev/null 2>&1 || :; done
		else
			entering | comm -12 "$work/entering" - >"$work/still"
			mv "$work/still" "$work/entering"
			# Where processes wait for clients, those stay unlisted for ever.
			if [ ! -s "$work/entering" ] || { [ "$(setting spare)" = true ] && [ "$i" -gt 40 ]; }; then quiet=$((quiet + 1)); fi
		fi
		[ "$quiet" -ge 2 ] || sleep 0.05
	done
}

# kick: end what sessions there may be of accounts that have left, once.
kick() {
	awk 'FILENAME == ARGV[1] { wanted[$1] = 1; next } ($1 in wanted) && $3 == "left" { print $2 }' \
		"$work/addresses" "$homes/logins" >"$work/logins"
	sessions | awk '{ print $1 }' | sort -u | while read -r login; do doveadm kick "$login" >/dev/null 2>&1 || :; done
}

# --- commands ---------------------------------------------------------------

# in_time OP ADDRESS...: if OP is that of a handoff, each account has one that is
# neither decided nor overdue. A slow operator must not make somebody wait whom
# no timer would free.
in_time() {
	op=$1
	shift
	[ -e "$homes/handoffs/$op/deadline" ] || return 0
	for address in "$@"; do
		armed=
		for handoff in $(handoffs_of "$address"); do
			if [ ! -e "$handoff/decision" ] && [ -e "$handoff/deadline" ] && ! overdue "$handoff"; then armed=yes; fi
		done
		if [ -z "$armed" ]; then
			echo expired
			exit 76
		fi
	done
}

# handoffs_of ADDRESS: the directories of its handoffs. Their names hold no blanks.
handoffs_of() {
	grep -rlF --include=routes -e "$1 " "$homes/handoffs" | while read -r file; do
		[ "$(cut -d ' ' -f 1 "$file")" != "$1" ] || echo "${file%/routes}"
	done
}

# undone: what was decided about an account in $work/input is done before anything
# else is. Who asked did not know of it, and looks again.
undone() {
	busy=
	cp "$work/input" "$work/asked"
	for handoff in "$homes"/handoffs/*/; do
		handoff=${handoff%/}
		if [ ! -e "$handoff/decision" ] || [ -e "$handoff/done" ]; then continue; fi
		read -r address _ <"$handoff/routes"
		if cut -d ' ' -f 1 "$work/asked" | grep -qxF -e "$address"; then
			finish "$handoff"
			busy=yes
		fi
	done
	[ -z "$busy" ] || exit 75
	cp "$work/asked" "$work/input"
}

set_routes_in_time() {
	undone
	# shellcheck disable=SC2046 # addresses hold no blanks
	in_time "$1" $(awk '$2 == "hold" { print $1 }' "$work/input")
	mark
	set_routes
}

set_logins_in_time() {
	undone
	# shellcheck disable=SC2046 # addresses hold no blanks
	in_time "$1" $(awk '$3 == "parked" { print $1 }' "$work/input")
	set_logins
}

# mark: the table "changing" says which command has changed the route of an address,
# from before it does until Postfix was seen to follow; the last one, where there are two.
mark() {
	awk -v command="${work##*/}" '{ print $1, command }' "$work/input" >"$work/marks"
	merge changing 2 <"$work/marks"
}

# unmark: Postfix follows what the commands in $work/marks have changed.
unmark() { grep -xF -f "$work/marks" "$homes/changing" | sed 's/ .*/ local/' | merge changing 2; }

set_routes() {
	{
		cat "$homes/kept"
		awk 'FILENAME == ARGV[1] { if ($2 != "relay" && $2 != "left") home[$1] = 1; next }
			($1 in home) && ($2 == "relay" || $2 == "left") { print $1 }' "$work/input" "$homes/routes"
	} | sort -u | put "$homes/kept"
	merge routes 2 <"$work/input"
}

routes() {
	cat >"$work/input"
	awk '{ print $1 }' "$work/input" >"$work/addresses"
	locked set_routes_in_time "$1"
	derived
	settle
	awk '$2 != "local" { print $1 }' "$work/input" >"$work/moved"
	if [ -s "$work/moved" ]; then
		finish_deliveries
		unfilter
	fi
	awk '$2 != "hold" { print $1 }' "$work/input" >"$work/addresses"
	if [ -s "$work/addresses" ]; then release; fi
	# It is done, also if another operator has come since.
	lineage=
	locked unmark
}

set_logins() {
	merge logins 3 <"$work/input"
	while read -r address login mode host name imap pop3; do
		derive_login "$address" "$login" "$mode" "$host" "$name" "$imap" "$pop3"
	done <"$work/input"
	flush_auth
}

# passing: sessions that are being handed over by a login process just now.
passing() { awk '$6 == "03" && $8 ~ /\/login\/(imap|pop3|sieve)$/ { print $7 }' /proc/net/unix | sort; }

# let_pass: who was let in before a door was shut gets to his session, to be ended like
# others, instead of an error.
let_pass() {
	sleep 0.15
	passing >"$work/passing"
	i=0
	while [ -s "$work/passing" ] && [ "$i" -lt 60 ]; do
		i=$((i + 1))
		sleep 0.05
		passing | comm -12 "$work/passing" - >"$work/still"
		mv "$work/still" "$work/passing"
	done
}

# guard: the stores of accounts in $work/input that are not at home here are opened
# for nobody.
guard() {
	awk '$3 != "open" { print $1, $2 }' "$work/input" >"$work/guarded"
	new=
	while read -r _ login; do
		for service in $services; do [ -e "$doors/guard/$service/$login" ] || new=yes; done
	done <"$work/guarded"
	[ -z "$new" ] || let_pass
	[ ! -s "$work/guarded" ] || locked put_guards
}

# put_guards: the table may have changed since. LMTP and LDA are for what the peer's door took
# before mail was held, and is still being received or tried.
put_guards() {
	awk 'FILENAME == ARGV[1] { wanted[$1] = 1; next } $1 in wanted { print $2, $3 }' "$work/guarded" "$homes/logins" >"$work/guards"
	while read -r login mode; do
		guards=$services
		case $mode in
		parked | left) guards="$services lmtp lda" ;;
		*) rm -f "$doors/guard/lmtp/$login" "$doors/guard/lda/$login" ;;
		esac
		for service in $guards; do
			[ -e "$doors/guard/$service/$login" ] || door guard "$service" "$login" "$login::::::: userdb_tempfail=yes"
		done
	done <"$work/guards"
	flush_auth
}

# somewhere: the logins in $work/input that go elsewhere say where.
somewhere() {
	nowhere=$(awk '($3 == "proxied" || $3 == "left") && (NF < 7 || $4 == "-") { print $2 }' "$work/input")
	[ -z "$nowhere" ] || die "there is nowhere to proxy $nowhere to"
}

logins() {
	cat >"$work/input"
	somewhere
	awk '$3 != "open" { print $2 }' "$work/input" >"$work/logins"
	locked set_logins_in_time "$1"
	guard
	if [ -s "$work/logins" ]; then empty; fi
	awk 'FILENAME == ARGV[1] { if ($3 == "parked") parked[$1] = 1; next } $1 in parked' "$work/input" "$homes/kept" >"$work/addresses"
	if [ -s "$work/addresses" ]; then finish_deliveries; fi
}

# refresh: the doors of these addresses are made anew, with the hash of now.
refresh_locked() {
	awk 'FILENAME == ARGV[1] { wanted[$1] = 1; next } $1 in wanted' "$work/input" "$homes/logins" >"$work/doors"
	mv "$work/doors" "$work/input"
	set_logins
}

refresh() {
	cat >"$work/input"
	locked refresh_locked
	guard
}

set_trust() {
	{
		awk -v peer="$1" -v domain="$2" '!($1 == peer && $2 == domain)' "$homes/trusts"
		[ "$3" = off ] || echo "$1 $2"
	} | sort -u | put "$homes/trusts"
	# Dovecot looks below the address that a login really comes from.
	if grep -q "^$1 " "$homes/trusts"; then ln -sfn ../kept "$doors/from/$1"; else rm -f "$doors/from/$1"; fi
}

# uptime: seconds since boot, which no clock correction changes.
uptime() { cut -d . -f 1 /proc/uptime; }

# overdue HANDOFF: the deadline has passed, by the clock or by the time since boot.
overdue() {
	read -r clock boot since <"$1/deadline"
	[ "$(date +%s)" -ge "$clock" ] || { [ "$boot" = "$(cat /proc/sys/kernel/random/boot_id)" ] && [ "$(uptime)" -ge "$since" ]; }
}

# decide HANDOFF VERDICT: the one commit point. Whoever comes second finds it made.
decide() {
	if [ ! -e "$1/decision" ]; then
		echo "$2" | put "$1/decision"
	fi
}

# away ADDRESS: its home is not here.
away() { awk -v address="$1" '$1 == address && ($2 == "relay" || $2 == "left") { found = 1 } END { exit !found }' "$homes/routes"; }

# turn HANDOFF: users first, who wait; mail does not mind.
turn() {
	case $(cat "$1/decision") in
	committed) cp "$1/logins" "$work/input" ;;
	*) awk '{ $3 = "open"; print }' "$1/logins" >"$work/input" ;;
	esac
	set_logins
}

# finish HANDOFF: make the tables say what was decided.
finish() {
	[ ! -e "$1/done" ] || return 0
	# One that has expired has nothing to say about an account that has left since.
	if [ "$(cat "$1/decision")" != committed ] && away "$(cut -d ' ' -f 1 "$1/routes")"; then
		date +%s | put "$1/done"
		return
	fi
	turn "$1"
	case $(cat "$1/decision") in
	committed) cp "$1/routes" "$work/input" ;;
	*) awk '{ $2 = "local"; print }' "$1/routes" >"$work/input" ;;
	esac
	set_routes
	date +%s | put "$1/done"
}

# follow: what is left to do, without a lock, once tables are finished for the
# accounts in $work/addresses.
follow() {
	awk 'FILENAME == ARGV[1] { wanted[$1] = 1; next } $1 in wanted' "$work/addresses" "$homes/logins" >"$work/input"
	guard
	kick
	derived
	settle
	finish_deliveries
	unfilter
	release
}

arm_locked() {
	handoff=$homes/handoffs/$1
	mkdir -p "$handoff"
	case $(cat "$handoff/decision" 2>/dev/null) in
	committed)
		echo committed
		return
		;;
	esac
	read -r address _ <"$work/input"
	for other in $(handoffs_of "$address"); do
		[ "$other" != "$handoff" ] || continue
		if [ "$(cat "$other/decision" 2>/dev/null)" = committed ] && [ ! -e "$other/done" ]; then
			finish "$other"
			echo busy
			return
		fi
		# Undecided, it expires; the account stays as it is.
		decide "$other" expired
		[ -e "$other/done" ] || date +%s | put "$other/done"
	done
	# A commit whose answer was lost may have come after its operator had looked.
	if away "$address"; then
		echo away
		return
	fi
	sed -n 1p "$work/input" | put "$handoff/routes"
	sed -n 2p "$work/input" | put "$handoff/logins"
	echo "$(($(date +%s) + $2)) $(cat /proc/sys/kernel/random/boot_id) $(($(uptime) + $2))" | put "$handoff/deadline"
	sync "$homes/handoffs"
	# Last, what makes an expired handoff undecided again.
	rm -f "$handoff/done" "$handoff/followed" "$handoff/decision"
	echo armed
}

commit_locked() {
	handoff=$homes/handoffs/$1
	[ -e "$handoff/deadline" ] || die "the handoff $1 was never armed"
	if overdue "$handoff"; then decide "$handoff" expired; else decide "$handoff" committed; fi
	case $(cat "$handoff/decision") in
	committed) [ -e "$handoff/done" ] || turn "$handoff" ;;
	*) finish "$handoff" ;;
	esac
	cat "$handoff/decision"
}

disarm_locked() {
	handoff=$homes/handoffs/$1
	[ -e "$handoff/deadline" ] || { echo 'never armed' && return; }
	decide "$handoff" expired
	finish "$handoff"
	cat "$handoff/decision"
}

tick_locked() {
	for handoff in "$homes"/handoffs/*/; do
		handoff=${handoff%/}
		[ -e "$handoff/deadline" ] || continue
		[ ! -e "$handoff/done" ] || continue
		if [ ! -e "$handoff/decision" ] && overdue "$handoff"; then decide "$handoff" expired; fi
		if [ -e "$handoff/decision" ]; then finish "$handoff"; fi
	done
	cp "$homes/changing" "$work/marks"
}

tick() {
	locked tick_locked
	# A change that is under way is followed as well: it cannot be told from one that
	# was cut off.
	cut -d ' ' -f 1 "$work/marks" >"$work/addresses"
	: >"$work/followed"
	for handoff in "$homes"/handoffs/*/; do
		if [ -e "$handoff/done" ] && [ ! -e "$handoff/followed" ]; then
			cut -d ' ' -f 1 "$handoff/routes" >>"$work/addresses"
			echo "$handoff" >>"$work/followed"
		fi
	done
	if [ -s "$work/addresses" ]; then follow; else derived; fi
	while read -r handoff; do : >"$handoff/followed"; done <"$work/followed"
	if [ -s "$work/marks" ]; then locked unmark; fi
	# What the peer's door had begun to receive before may come at any time.
	awk '$2 == "left" { print $1 }' "$homes/routes" >"$work/addresses"
	if [ -s "$work/addresses" ]; then unfilter; fi
	# A claim that was killed while deliveries paused.
	flock -n "$homes/claiming" "$homes/homes" resume || :
}

# resume: deliveries to Dovecot, which a claim pauses, go on as before, and at once.
resume() {
	[ -e "$homes/defer_before" ] || return 0
	before=$(cat "$homes/defer_before")
	if [ -n "$before" ]; then postconf -e "defer_transports = $before"; else postconf -X defer_transports; fi
	rm -f "$homes/defer_before"
	postfix reload >/dev/null 2>&1
	postqueue -j | sed -n '/deferred transport/s/.*"queue_id": "\([^"]*\)".*/\1/p' | while read -r id; do postqueue -i "$id" || :; done
}

handoff_state() {
	if [ ! -e "$homes/handoffs/$1/deadline" ]; then
		echo 'never armed'
	elif [ -e "$homes/handoffs/$1/decision" ]; then
		cat "$homes/handoffs/$1/decision"
	else
		echo armed
	fi
}

show() {
	for table in route login trust; do sed "s/^/$table /" "$homes/${table}s"; done
	# After the routes: what is changed meanwhile shall not seem to be in force.
	sed 's/^\([^ ]*\) .*/changing \1/' "$homes/changing"
}

work=
clean() { [ -z "$work" ] || rm -rf "$work"; }
trap clean EXIT
trap 'exit 1' HUP INT TERM
lineage=
epoch=0
if [ "$1" = --epoch ]; then
	lineage=$2 epoch=$3
	shift 3
fi
if [ ! -e "$homes/settings" ]; then
	case $1 in
	show | refresh | fence | check) exit 0 ;;
	handoff) echo 'never armed' && exit 0 ;;
	esac
	die 'this server is not claimed: mail_claim comes first'
fi
mkdir -p "$homes/work" "$homes/handoffs"
touch "$homes/routes" "$homes/kept" "$homes/changing" "$homes/logins" "$homes/trusts"
work=$(mktemp -d "$homes/work/XXXXXXXX")

command=$1
shift
case $command in
fence) locked fence_locked "$@" ;;
check) check_epoch ;;
trust)
	locked set_trust "$@"
	derived
	;;
routes | logins) "$command" "$1" ;;
arm)
	cat >"$work/input"
	somewhere
	locked arm_locked "$@"
	# shellcheck disable=SC2016 # expanded by that shell
	setsid sh -c 'sleep "$2" && exec "$1" tick' sh "$homes/homes" "$(($2 + 1))" >/dev/null 2>&1 </dev/null &
	;;
commit)
	locked commit_locked "$@"
	# The server goes on by itself, whether or not anybody calls disarm.
	setsid "$homes/homes" disarm "$1" >/dev/null 2>&1 </dev/null &
	;;
disarm)
	locked disarm_locked "$@"
	if [ -e "$homes/handoffs/$1/routes" ]; then
		cut -d ' ' -f 1 "$homes/handoffs/$1/routes" >"$work/addresses"
		follow
		if [ -e "$homes/handoffs/$1/done" ]; then : >"$homes/handoffs/$1/followed"; fi
	fi
	;;
handoff) handoff_state "$@" ;;
tick | resume | refresh) "$command" ;;
derive)
	rm -f "$homes/derived"
	derived
	;;
show) show ;;
*) die "unknown command $command" ;;
esac
