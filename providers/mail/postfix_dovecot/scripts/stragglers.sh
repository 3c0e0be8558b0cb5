#!/bin/sh
# stragglers.sh DOMAIN DAYS: who delivered mail for the domain, from the mail log:
# "COUNT ADDRESS NAME TIME", the time of the last message as in RFC 3339. A log that
# cannot be read whole is an error: who is in it might still need this server.
set -eu
export LC_ALL=C
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

die() {
	printf '%s\n' "$*" >&2
	exit 1
}

# gather: the log, oldest first, in $work/log.
gather() {
	: >"$work/log"
	for log in $(postconf -h maillog_file 2>/dev/null || :) /var/log/mail.log /var/log/maillog; do
		[ -f "$log" ] || continue
		find "${log%/*}" -maxdepth 1 -name "${log##*/}*" -mtime "-$1" -printf '%T@ %p\n' >"$work/found"
		sort -n "$work/found" >"$work/parts"
		while read -r _ part; do
			case $part in
			*.gz) gzip -dc "$part" ;;
			*.xz) xz -dc "$part" ;;
			*.zst) zstd -dcq "$part" ;;
			*.bz2) bzip2 -dc "$part" ;;
			*) cat "$part" ;;
			esac >>"$work/log" || die "the mail log $part cannot be read"
		done <"$work/parts"
		return
	done
	command -v journalctl >/dev/null || die 'there is no mail log'
	journalctl --no-pager -q -o short-iso SYSLOG_FACILITY=2 --since "-${1}d" >"$work/log"
}

# instant TIME: with year and zone, which RFC 3164 leaves out: it is the server's
# zone, and the last such time before now.
instant() {
	case $1 in
	[0-9]*) date -d "$1" +%FT%T.%N%:z && return ;;
	esac
	at=$(date -d "$1" +%s) || die "the time $1 of the mail log is unknown"
	if [ "$at" -gt $(($(date +%s) + 86400)) ]; then at=$(date -d "$1 $(($(date +%Y) - 1))" +%s); fi
	date -d "@$at" +%FT%T%:z
}

gather "$2"
awk -v domain="@$1>" '
	{ at = ($1 ~ /^[0-9]/) ? $1 : $1 " " $2 " " $3 }
	# Whatever syslog_name is. Submissions are authenticated; the peer has a name of its own.
	/\/smtpd\[[0-9]+\]: [^ ]+: client=/ && !/\/mailmove\/smtpd\[/ && !/sasl_username=/ {
		id = $0; sub(/^.*\/smtpd\[[0-9]+\]: /, "", id); sub(/:.*/, "", id)
		from = $0; sub(/^.*: client=/, "", from); sub(/,.*/, "", from)
		client[id] = from; when[id] = at; delete counted[id]
	}
	/ (orig_)?to=</ {
		line = tolower($0)
		if (index(line, domain)) {
			id = $0; sub(/^[^]]*\]: /, "", id); sub(/:.*/, "", id)
			if ((id in client) && !(id in counted)) {
				counted[id] = 1; n[client[id]]++; last[client[id]] = when[id]
			}
		}
	}
	END {
		for (c in n) {
			name = c; sub(/\[.*/, "", name)
			address = c; sub(/^.*\[/, "", address); sub(/\].*/, "", address)
			print n[c], address, name, last[c]
		}
	}' "$work/log" >"$work/counts"
while read -r count address name at; do
	at=$(instant "$at")
	printf '%s %s %s %s\n' "$count" "$address" "$name" "$at"
done <"$work/counts"
