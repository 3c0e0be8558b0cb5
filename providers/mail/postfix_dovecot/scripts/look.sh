#!/bin/sh
# look.sh: what kind of mail server this is. Prints NAME=VALUE lines, then the
# configuration of Dovecot after a line "===".
set -u
export LC_ALL=C
for program in postconf postmap postqueue sendmail doveconf doveadm flock awk rsync; do
	command -v "$program" >/dev/null || echo "missing=$program"
done
command -v postconf >/dev/null && command -v doveconf >/dev/null || exit 0
echo "dovecot=$(dovecot --version 2>/dev/null)"
for name in mail_version default_database_type virtual_mailbox_domains virtual_mailbox_maps virtual_alias_maps \
	virtual_transport mydestination myorigin local_transport mailbox_transport mailbox_transport_maps fallback_transport \
	fallback_transport_maps mailbox_command mailbox_command_maps home_mailbox alias_maps luser_relay myhostname \
	recipient_delimiter maillog_file message_size_limit; do
	echo "$name=$(postconf -xh "$name" 2>/dev/null | tr '\n' ' ')"
done
# Its macros are those of local(8), not parameters.
echo "forward_path=$(postconf -h forward_path 2>/dev/null | tr '\n' ' ')"
echo "passwd_sources=$(sed -n 's/^passwd://p' /etc/nsswitch.conf 2>/dev/null)"
for file in "$(doveconf -h ssl_client_ca_file 2>/dev/null)" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt; do
	if [ -f "$file" ]; then
		echo "ca_file=$file"
		break
	fi
done
echo '==='
doveconf -n 2>/dev/null
