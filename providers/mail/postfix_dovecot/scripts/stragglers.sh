#!/bin/sh
# stragglers.sh DOMAIN DAYS: who delivered mail for the domain, from the mail log:
# "COUNT ADDRESS NAME TIME" with the time of the last message as the log has it.
set -eu
export LC_ALL=C
logs() {
	file=$(postconf -h maillog_file 2>/dev/null || :)
	found=
	for log in ${file:+"$file"} /var/log/mail.log /var/log/maillog; do
		[ -f "$log" ] || continue
		find "${log%/*}" -maxdepth 1 -name "${log##*/}*" -mtime "-$2" -print | sort -r | while read -r part; do
			case $part in
			*.gz) gzip -dc "$part" ;;
			*) cat "$part" ;;
			esac
		done
		found=yes
		break
	done
	if [ -z "$found" ]; then
		command -v journalctl >/dev/null || { echo 'there is no mail log' >&2 && exit 1; }
		journalctl --no-pager -o short-iso -t postfix/smtpd -t postfix/cleanup -t postfix/qmgr -t postfix/smtp -t postfix/lmtp -t postfix/local -t postfix/virtual -t postfix/pipe --since "-${2}d"
	fi
}
logs "$@" | awk -v domain="@$1>" '
	{ at = ($1 ~ /^[0-9]/) ? $1 : $1 " " $2 " " $3 }
	# Submissions and the peer have services of their own and other names.
	/ postfix\/smtpd\[[0-9]+\]: [^ ]+: client=/ && !/sasl_username=/ {
		id = $0; sub(/^.* postfix\/smtpd\[[0-9]+\]: /, "", id); sub(/:.*/, "", id)
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
	}'
