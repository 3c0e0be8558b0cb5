#!/bin/sh
# claim.sh: install and remove mailmove's hooks in Postfix and Dovecot.
#
#	claim PORT     standard input: homes.sh, park.sh, the two Dovecot drop-ins and
#	               the settings, each after a line "=== NAME"
#	unclaim
#	claimed        prints yes or no
#
# It begins with reload.sh.
set -eu
umask 077
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

state=${MAILMOVE_STATE:-/var/lib/mailmove}
homes=$state/homes
maps=/etc/postfix/mailmove
doors=/etc/dovecot/mailmove
first=/etc/dovecot/conf.d/00-mailmove.conf
last=/etc/dovecot/conf.d/zz-mailmove.conf
cron=/etc/cron.d/mailmove
unit=/etc/systemd/system/mailmove

die() {
	printf '%s\n' "$*" >&2
	exit 1
}

setting() { sed -n "s/^$1=//p" "$homes/settings"; }

# in_force: Dovecot uses our passdbs, shown by one of an account that is nobody's.
in_force() {
	[ -d "$doors/away/imap" ] || return 1
	# Dovecot may drop the domain of a login, or add one to a name alone.
	look=mailmove-look-$$
	if [ "$(setting users)" != system ]; then look=$look@mailmove.invalid; fi
	# It is nobody's, and still nobody shall know its password.
	secret=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
	[ "${#secret}" = 32 ] || die 'there is no randomness'
	door=$doors/away/imap/$look
	echo "$look:{PLAIN}$secret::::::" >"$door"
	chgrp "$(setting auth_group)" "$door"
	chmod 640 "$door"
	found=0
	doveadm auth test -x service=imap "$look" "$secret" >/dev/null 2>&1 || found=1
	rm -f "$door"
	return "$found"
}

# without_deliveries COMMAND...: run it while nothing is being delivered to
# Dovecot: a reload in the middle of a delivery saves the mail, reports a failure,
# and Postfix delivers it again.
without_deliveries() {
	transport=$(setting delivery)
	transport=${transport%%:*}
	if [ "$transport" != lmtp ]; then
		"$@"
		return
	fi
	if [ ! -e "$homes/defer_before" ]; then
		postconf -h defer_transports >"$homes/defer_before.new"
		mv "$homes/defer_before.new" "$homes/defer_before"
	fi
	# local(8) hands mail to Dovecot without asking the queue manager again.
	if [ "$(setting users)" = system ]; then transport="local $transport"; fi
	postconf -e "defer_transports = $(cat "$homes/defer_before") $transport"
	reload_postfix
	i=0
	quiet=0
	while [ "$quiet" -lt 2 ]; do
		i=$((i + 1))
		if [ "$i" -gt 1200 ]; then
			resume
			die 'deliveries to Dovecot have not paused for two minutes'
		fi
		if delivering; then quiet=0; else quiet=$((quiet + 1)); fi
		sleep 0.1
	done
	rc=0
	"$@" || rc=$?
	resume
	return "$rc"
}

# delivering: Postfix is connected to Dovecot. A process that only waits for work may
# be there for max_idle, 100 seconds, and says nothing.
delivering() {
	master=$(sed 's/ //g' "$(postconf -h queue_directory)/pid/master.pid")
	if [ "$(setting users)" = system ]; then
		if in_local "$master"; then return 0; fi
	fi
	nexthop=$(setting delivery)
	nexthop=${nexthop#*:}
	case $nexthop in
	unix:*)
		# A connection's end at the server has its path; state 03 is connected.
		awk -v path="${nexthop#unix:}" '
			$6 == "03" && substr($8, length($8) - length(path) + 1) == path { found = 1 }
			END { exit !found }' /proc/net/unix
		;;
	*) pgrep -P "$master" -x lmtp >/dev/null ;;
	esac
}

# resume: deliveries go on as before without_deliveries. homes.sh does so as well,
# each minute, if we are killed.
resume() { [ ! -e "$homes/defer_before" ] || "$homes/homes" resume; }

# alone: nobody else claims, unclaims or resumes meanwhile.
alone() {
	mkdir -p "$homes"
	exec 9>"$homes/claiming"
	flock -w 180 9 || die 'another command has been installing or removing the hooks for three minutes'
}

# doormen: the login processes. They take connections by themselves.
doormen() { pgrep -P "$master" -- '-login$' | tr '\n' ' '; }

# entering: who is on his way in: login processes with more clients than sessions (of
# one by TLS they keep both ends), and connections by which a session is handed over.
entering() {
	pgrep -P "$master" -x dovecot || : # forked, and not yet what it will be
	ss -Hxtanp 2>/dev/null | awk '
		# Netid State Recv-Q Send-Q path inode path inode users
		# Netid State Recv-Q Send-Q address address users
		$2 == "ESTAB" && $5 ~ /\/login\/(imap|pop3|sieve|submission)$/ { print $5 }
		$1 == "tcp" { owner[NR] = $7; client[NR] = $2 != "LISTEN" }
		$1 != "tcp" { owner[$6] = $9; peer[$6] = $8 }
		END {
			for (end in owner) {
				rest = owner[end]
				while (match(rest, /-login",pid=[0-9]+/)) {
					pid = substr(rest, RSTART + 12, RLENGTH - 12)
					rest = substr(rest, RSTART + RLENGTH)
					if (client[end]) waiting[pid]++
					if (owner[peer[end]] ~ /"(imap|pop3|managesieve|submission)"/) waiting[pid]--
				}
			}
			for (pid in waiting) if (waiting[pid] > 0) print pid
		}'
	for pid in $(doormen); do
		case " $standing" in *" $pid "*) ;; *) echo "$pid" ;; esac
	done
}

# reload_between: reload Dovecot at an instant when nobody is on his way in, if there is
# one within half a minute (who has come and says nothing for a quarter of a minute
# does not count): a reload ends who is, since the new processes know nothing
# of what the old ones have checked ("Internal login failure"). Its master and the login
# processes stand still while we look, and these until the new ones are there: who comes
# meanwhile waits in the queue of the socket, and the new ones take him. A process of
# its own lets them go on should we be killed.
reload_between() {
	master=$(cat "$base/master.pid")
	[ "$(cat "/proc/$master/comm")" = dovecot ] || die "Dovecot's master.pid names another process"
	# shellcheck disable=SC2016 # expanded by that shell
	setsid sh -c 'sleep 60; kill -CONT "$1" $(pgrep -P "$1" -- "-login$")' sh "$master" >/dev/null 2>&1 </dev/null 9>&- &
	guard=$!
	begun=$(date +%s)
	idle=$(pgrep -P "$master" | tr '\n' ' ')
	while :; do
		kill -STOP "$master"
		standing=$(doormen)
		# shellcheck disable=SC2086 # numbers
		[ -z "$standing" ] || kill -STOP $standing 2>/dev/null || :
		idle_before=$idle idle='' coming=''
		for who in $(entering); do
			case " $idle_before" in *" $who "*) idle="$idle$who " ;; *) coming=yes ;; esac
		done
		waited=$(($(date +%s) - begun))
		if [ -z "$coming$idle" ] || [ "$waited" -gt 30 ]; then break; fi
		if [ -z "$coming" ] && [ "$waited" -gt 15 ]; then break; fi
		go_on
		sleep 0.05
	done
	known=
	newborn
	: >"$homes/reloading"
	kill -HUP "$master"
	kill -CONT "$master"
	# The master may answer the door once more before it reads its configuration: whom
	# it sends there stops before he has taken anybody. No command in this loop: it is
	# to be faster than he is.
	i=0
	# shellcheck disable=SC3013 # POSIX 2024, dash and busybox have -nt
	until [ "$base/auth-master" -nt "$homes/reloading" ] || [ "$i" -gt 100000 ]; do
		i=$((i + 1))
		newborn
	done
	rm -f "$homes/reloading"
	# An old one takes whom it finds at the door, before it heeds that it is old.
	# shellcheck disable=SC2086 # numbers
	renice -n -20 -p $$ $standing >/dev/null 2>&1 || :
	i=0
	until nobody_waits || [ "$i" -gt 1000 ]; do i=$((i + 1)); done
	go_on
	sleep 0.05
	# shellcheck disable=SC2086 # numbers
	renice -n 0 -p $$ $standing >/dev/null 2>&1 || :
	kill "$guard" 2>/dev/null || :
}

# newborn: stop the login processes that are not yet known.
newborn() {
	children=
	read -r children <"/proc/$master/task/$master/children" || :
	for pid in $children; do
		case " $known " in *" $pid "*) continue ;; esac
		comm=
		read -r comm 2>/dev/null <"/proc/$pid/comm" || :
		case $comm in
		dovecot) continue ;; # forked, and not yet what it will be
		*-login)
			kill -STOP "$pid" 2>/dev/null || :
			standing="$standing $pid"
			;;
		esac
		known="$known $pid"
	done
}

# nobody_waits: no connection waits to be accepted. The kernel lists listeners first.
nobody_waits() {
	for table in /proc/net/tcp /proc/net/tcp6; do
		[ -r "$table" ] || continue
		while read -r _ _ _ state queues _; do
			case $state:$queues in
			st:* | 0A:*:00000000) ;;
			0A:*) return 1 ;;
			*) break ;;
			esac
		done <"$table"
	done
}

go_on() {
	# shellcheck disable=SC2086 # numbers
	kill -CONT "$master" $standing 2>/dev/null || :
}

# checkers: the processes that check passwords, but not their workers.
checkers() { ps -o pid=,args= --ppid "$(cat "$base/master.pid")" | awk '$2 ~ /auth$/ && $3 != "-w" { print $1 }'; }

# end_checkers PID...: a process that checks passwords outlives a reload for
# those who are connected to it, such as smtpd. For PAM it needs workers, which fit
# their configuration and no older one: each login through it would fail. Once it is
# gone, they come to the new one.
end_checkers() { for pid in "$@"; do kill "$pid" 2>/dev/null || :; done; }

# reload_dovecot WANTED: until the passdbs are in force (0) or no longer (1).
reload_dovecot() {
	base=$(doveconf -h base_dir)
	old=$(checkers)
	reload_between
	# shellcheck disable=SC2086 # numbers
	if [ "$(setting users)" = system ]; then end_checkers $old; fi
	i=0
	while :; do
		now=0
		in_force || now=1
		[ "$now" != "$1" ] || return 0
		i=$((i + 1))
		[ "$i" -le 100 ] || return 1
		sleep 0.1
	done
}

unpack() {
	mkdir -p "$homes/in"
	awk -v dir="$homes/in" '/^=== / { name = $2; next } { print > (dir "/" name) }'
	sync "$homes"/in/*
}

install_files() {
	mv "$homes/in/settings" "$homes/settings"
	chmod 755 "$homes/in/homes.sh"
	mv "$homes/in/homes.sh" "$homes/homes"
	mkdir -p "$maps" "$doors"
	chmod 755 "$maps"
	for directory in held away kept guard closed; do
		for service in imap pop3 sieve smtp lmtp lda; do mkdir -p "$doors/$directory/$service"; done
	done
	mkdir -p "$doors/from"
	chmod 755 "$homes/in/park.sh"
	mv "$homes/in/park.sh" "$doors/park.sh"
	chgrp -R "$(setting auth_group)" "$doors"
	find "$doors" -type d -exec chmod 750 {} +
	mkdir -p "$maps/seen"
	chown nobody "$maps/seen"
	chmod 755 "$maps/seen"
}

# clock: what runs the dead-man's timer after a reboot, each minute.
install_clock() {
	if pgrep -x cron >/dev/null || pgrep -x crond >/dev/null; then
		echo "* * * * * root [ ! -x $homes/homes ] || $homes/homes tick >/dev/null 2>&1" >"$cron.new"
		chmod 644 "$cron.new"
		mv "$cron.new" "$cron"
	elif [ -d /run/systemd/system ]; then
		printf '[Unit]\nDescription=mailmove: end overdue handoffs\n[Service]\nType=oneshot\nExecStart=%s tick\n' "$homes/homes" >"$unit.service"
		printf '[Unit]\nDescription=mailmove: end overdue handoffs\n[Timer]\nOnBootSec=10\nOnCalendar=minutely\nPersistent=true\n[Install]\nWantedBy=timers.target\n' >"$unit.timer"
		systemctl daemon-reload
		systemctl enable --now mailmove.timer
	else
		die 'neither cron nor systemd runs here: after a reboot nothing could reopen an account'
	fi
}

hook_postfix() {
	for file in main.cf master.cf; do
		if [ ! -e "$homes/$file.after" ]; then
			[ -e "$homes/$file.before" ] || cp -p "/etc/postfix/$file" "$homes/$file.before"
		elif ! cmp -s "/etc/postfix/$file" "$homes/$file.after"; then
			# Somebody changed it since the last claim: it cannot be put back whole.
			rm -f "$homes/$file.before"
		fi
	done
	type=$(setting map_type)
	ours="$type:$maps/transport"
	theirs=$(postconf -h transport_maps)
	case ", $theirs," in
	*", $ours,"*) ;;
	*) postconf -e "transport_maps = $ours${theirs:+, $theirs}" ;;
	esac
	if [ "$(setting users)" = system ]; then
		names="$type:$maps/names"
		theirs=$(postconf -h virtual_alias_maps)
		case ", $theirs," in
		*", $names,"*) ;;
		*) postconf -e "virtual_alias_maps = ${theirs:+$theirs, }$names" ;;
		esac
		# A process of local(8) keeps the last answer about an address for 30 seconds.
		postconf -P local/unix/max_use=1
	fi
	postconf -M 'mmhold/unix=mmhold unix - - n - - lmtp'
	# shellcheck disable=SC2016 # Postfix expands it
	postconf -M 'mmseen/unix=mmseen unix - n n - 1 pipe user=nobody argv=/bin/mkdir -p '"$maps/seen/"'${nexthop}'
	# Two clients that do the same: what the peer keeps and what it may hand back are
	# never recipients of one message, since its FILTER holds for all of them.
	for client in mmrelay mmleft; do
		postconf -M "$client/unix=$client unix - - n - - smtp -o smtp_tls_security_level=may -o smtp_connection_cache_on_demand=no -o smtp_fallback_relay= -o smtp_header_checks= -o smtp_generic_maps= -o smtp_bind_address= -o syslog_name=postfix/mailmove"
	done
	map() { printf '%s' "$type:$maps/$1"; }
	postconf -M "$1/inet=$1 inet n - n - - smtpd -o syslog_name=postfix/mailmove -o mynetworks= -o smtpd_client_restrictions=check_client_access,$(map peers),reject -o smtpd_helo_required=no -o smtpd_helo_restrictions= -o smtpd_sender_restrictions= -o smtpd_relay_restrictions=reject_unauth_destination -o smtpd_recipient_restrictions=check_recipient_access,$(map kept),check_recipient_access,$(map domains),reject -o smtpd_data_restrictions= -o smtpd_end_of_data_restrictions= -o smtpd_milters= -o smtpd_milter_maps= -o content_filter= -o smtpd_proxy_filter= -o smtpd_sasl_auth_enable=no -o receive_override_options=no_address_mappings,no_header_body_checks,no_milters -o smtpd_reject_unlisted_recipient=yes -o unknown_virtual_mailbox_reject_code=450 -o unknown_local_recipient_reject_code=450 -o unknown_relay_recipient_reject_code=450 -o relay_domains_reject_code=450 -o access_map_reject_code=450 -o reject_code=450 -o smtpd_client_connection_count_limit=0 -o smtpd_client_event_limit_exceptions=static:all -o smtpd_error_sleep_time=0 -o smtpd_hard_error_limit=1000 -o smtpd_discard_ehlo_keywords= -o strict_rfc821_envelopes=no"
	cp -p /etc/postfix/main.cf "$homes/main.cf.after"
	cp -p /etc/postfix/master.cf "$homes/master.cf.after"
	postfix check
	reload_postfix
}

# place FILE TO: by rename; what was there is kept beside it.
place() {
	rm -f "$2.mailmove-was"
	[ ! -e "$2" ] || cp -p "$2" "$2.mailmove-was"
	cp -p "$1" "$2.mailmove-new"
	mv "$2.mailmove-new" "$2"
}

claim() {
	alone
	resume
	unpack
	install_files
	install_clock
	"$homes/homes" derive
	hook_postfix "$1"
	if [ ! -e "$last" ] || ! cmp -s "$homes/in/first.conf" "$first" || ! cmp -s "$homes/in/last.conf" "$last" || ! in_force; then
		chmod 644 "$homes"/in/*.conf
		place "$homes/in/last.conf" "$last"
		place "$homes/in/first.conf" "$first"
		if ! doveconf -n >/dev/null 2>"$homes/in/errors"; then
			# As it was: hooks that are in force stay.
			for file in "$first" "$last"; do
				if [ -e "$file.mailmove-was" ]; then mv "$file.mailmove-was" "$file"; else rm -f "$file"; fi
			done
			die "Dovecot refuses the hooks: $(head -n 3 "$homes/in/errors")"
		fi
		without_deliveries reload_dovecot 0 || die "Dovecot does not use the hooks: does dovecot.conf include conf.d/*.conf before it defines a passdb?"
	fi
	rm -rf "$homes/in" "$first.mailmove-was" "$last.mailmove-was"
	date +%s >"$homes/claimed.new"
	mv "$homes/claimed.new" "$homes/claimed"
}

# put_back FILE: as it was, if nobody changed it since; otherwise our part leaves.
put_back() {
	if [ -e "$homes/$1.before" ] && cmp -s "/etc/postfix/$1" "$homes/$1.after"; then
		cp -p "$homes/$1.before" "/etc/postfix/.$1.mailmove"
		sync "/etc/postfix/.$1.mailmove"
		mv "/etc/postfix/.$1.mailmove" "/etc/postfix/$1"
	elif [ "$1" = main.cf ]; then
		theirs=$(postconf -h transport_maps | sed "s|$(setting map_type):$maps/transport||; s/^[ ,]*//")
		if [ -n "$theirs" ]; then postconf -e "transport_maps = $theirs"; else postconf -X transport_maps; fi
		if [ "$(setting users)" = system ]; then
			theirs=$(postconf -h virtual_alias_maps | sed "s|,* *$(setting map_type):$maps/names||; s/^[ ,]*//")
			if [ "$theirs" = "\$virtual_maps" ] || [ -z "$theirs" ]; then postconf -X virtual_alias_maps; else postconf -e "virtual_alias_maps = $theirs"; fi
		fi
	else
		postconf -MX mmhold/unix mmseen/unix mmrelay/unix mmleft/unix "$(setting port)/inet"
		if [ "$(setting users)" = system ]; then postconf -PX local/unix/max_use; fi
	fi
}

unclaim() {
	[ -e "$homes/settings" ] || return 0
	alone
	resume
	for table in routes logins trusts; do
		[ ! -s "$homes/$table" ] || die "the server still has $table in force: $(head -n 1 "$homes/$table")"
	done
	if postqueue -j | grep -q 'mailmove-hold'; then die 'mail that was held for a handoff is still queued'; fi
	if [ -e "$first" ] || [ -e "$last" ]; then
		rm -f "$first" "$last"
		without_deliveries reload_dovecot 1 || die 'Dovecot still uses the hooks after a reload'
	fi
	put_back main.cf
	put_back master.cf
	reload_postfix
	rm -f "$cron"
	if [ -e "$unit.timer" ]; then
		systemctl disable --now mailmove.timer
		rm -f "$unit.timer" "$unit.service"
		systemctl daemon-reload
	fi
	rm -rf "$maps" "$doors" "$state/begun" "$state/reload"
	# A tick that is under way may write there once more.
	rm -rf "$homes" || rm -rf "$homes"
}

case $1 in
claim)
	shift
	claim "$@"
	;;
unclaim) unclaim ;;
claimed)
	if [ -e "$homes/claimed" ] && [ -e "$first" ] && postconf -h transport_maps | grep -q "$maps/transport" && in_force; then
		echo yes
	else
		echo no
	fi
	;;
*) die "unknown command $1" ;;
esac
