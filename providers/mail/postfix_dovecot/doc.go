// Package postfix_dovecot is the platform of mail servers that run Postfix and
// Dovecot 2.3, with virtual users in a passwd-file and indexed maps, or with the
// users of the system.
//
// # What it does on a server
//
// A claim (claim.go) installs hooks once; afterwards every change is a file that
// is put in place by rename, and neither Postfix nor Dovecot is reloaded again.
//
//   - Postfix: transport_maps has our map first; five services in master.cf.
//     mmhold leads to a socket that does not exist, so its mail stays queued;
//     mmrelay and mmleft are the SMTP clients towards the peer; mmseen tells which
//     map is in use; and the peer's door, an smtpd on a port of its own.
//   - Dovecot: conf.d/00-mailmove.conf with passdbs that look for one small file per
//     account and service below /etc/dovecot/mailmove, and a userdb that guards
//     the store of an account that is not at home. An account of which no file
//     speaks is served as ever.
//     It is reloaded at an instant when nobody is seen logging in, since a reload
//     ends who is (TestClaimRefusesNoLogin counts them).
//   - cron (or a systemd timer) runs /var/lib/mailmove/homes/homes tick each minute.
//
// # The peer's door
//
// Relayed mail does not go to the peer's port 25: there it would meet the
// policies that outsiders meet (SPF above all, since the envelope is an
// outsider's and the address ours), and its aliases would be expanded a second
// time, so that an alias that keeps a copy makes two. The door takes mail from
// trusted peers only, for the trusted domain only, past filters, milters and
// limits, expands nothing, and answers 450 to everything else, so that nothing
// that goes through it ever bounces.
//
// # Home, away, left
//
// A server on which an account is not at home relays its mail and proxies its
// logins to the peer. Away ([mail.Relay], [mail.Proxied]) is the account that is
// not yet or no longer ours to decide about: what the peer hands over is kept.
// Left is what a committed handoff makes: the home was here, and every login and
// everybody's mail goes to the peer. Mail that the peer itself hands over, because
// it found the new server before that knew of the commit, is put off with 450:
// kept it would stay in the store that has just been left, and passed on it would
// go round between queue managers that do not use the same maps yet. It waits in
// the peer's queue. A handoff makes the target away before it commits.
//
// # How a login waits
//
// While an account is parked, its right password is found by a passdb of ours and
// a program (park.sh) waits until the account's file is gone, and then answers
// "here" or "there": the decision is made after the wait, never before. Wrong
// passwords are refused at once. Submission is served by the administrator's
// passdb as ever, since Postfix does not wait longer than 10 seconds. A login that
// was authenticated before and gets to its session later is stopped by the
// userdb. Waiting and proxied logins need login processes that serve more than one
// connection: conf.d/zz-mailmove.conf sets service_count = 0 (Dovecot's default
// ends at 100 connections).
//
// # How a route is known to be in force
//
// Postfix' queue manager keeps the last answer about an address for 30 seconds,
// and trivial-rewrite keeps a map that was replaced for 10: a message with the
// sender and the recipient of the one before was delivered by the old route after
// the new map was in place. Each version of our map has a number; SetRoutes sends
// probe messages, each to an address of its own, until one has gone the way of the
// new number, and then waits for the deliveries that had begun. It takes up to
// ten seconds for any number of addresses. Until then the address is marked on the
// server's disk and observed as [mail.Changing], also if mailmove or the server ends
// meanwhile, so that the change is made again; the server takes what it finds marked
// into use by itself, within two minutes. Ending trivial-rewrite would be quicker
// and is wrong: a process that has not served anybody yet counts as failed, and
// Postfix' master stops the service for a minute.
//
// # What the server does by itself
//
// The tables below /var/lib/mailmove/homes are the truth, and maps and passwd-files
// follow from them. A handoff has a directory there; its file "decision" is made
// by rename under the lock that every command takes, and is the commit. After it
// the server goes on alone: the command that committed has made the logins before
// it returned, leaves a process behind for the mail, and cron looks each minute
// for what is overdue or undone.
//
// # Passwords
//
// Where an account is not at home, a session is proxied whatever the password, and
// the home says whether it is right: so one that is changed there counts at once,
// whichever server is asked. Such an answer exists for IMAP, POP3 and ManageSieve
// only: nobody else who asks Dovecot about a password ever hears nopassword. What is
// parked, or kept for the peer, is checked here first, against the hash of this
// server, of which PutAccounts makes the copies in the passwd-files anew.
//
// # Copying
//
// Rsync carries the files of a Maildir, and so keeps UIDs, flags, keywords, dates,
// UIDLs and subscriptions; dsync carries what Dovecot sees, and Sieve scripts go by
// rsync then too. Neither needs a way from one server to the other: the operator
// joins a port on the one's loopback to a process on the other.
//
// A pass (scripts/store.sh) has a beginning and an end on the server that is copied
// to. It takes the store from the pass before; whoever writes holds the store's
// lock, by which a later operator finds and ends it; and at the end what was
// written is on the disk. A source is refused that is not what was copied before:
// that is not there, or empty, or another Maildir, as when its volume is not
// mounted. What was set aside on the way back stays below .mailmove-aside beside
// the home, as links where it can.
//
// # Users of the system
//
// Where Dovecot's passdb is pam, shadow or passwd, an account is a user with a
// password and an id of people (UID_MIN to UID_MAX of login.defs(5)). He has an
// address in every domain of mydestination, and the domain is accepted by being one
// of them. Accounts are made by useradd, without a shell and with nothing of
// /etc/skel; hashes go by standard input to chpasswd, and only if crypt(3) of the
// server knows their form. Aliases are those of aliases(5), and of virtual(5) where
// the server has such maps. He logs in by his name or his address; the peer is
// always told the address (destuser). Where people move to virtual users and their
// programs send the name alone, set auth_default_realm there.
//
// Mail takes other ways there. local(8) looks at the name alone, and expands aliases
// itself, to names at the host: neither cleanup(8) nor the queue manager sees to whom
// it delivers. Therefore
//
//   - a route has an entry for each domain of mydestination. What an alias leads to
//     then is not delivered at once but queued as a message of its own, and there our
//     table of virtual(5) gives it the account's address, by which the peer knows it;
//   - local(8) keeps the last answer about an address for 30 seconds, and so serves
//     one message a process as long as the hooks are there (max_use); it may ask
//     another trivial-rewrite than the queue manager does, and so each change of
//     routes takes twelve seconds;
//   - before a store is closed, every message for one of these domains that is being
//     delivered is waited for, since it may be for an alias;
//   - what local(8) would do for an account beside its mailbox (~/.forward, an entry
//     of /etc/aliases under the user's own name) is not done once the account is
//     away. Such accounts are listed as aliases with code, which stop the plan: turn
//     them into Sieve rules or virtual aliases first;
//   - the processes that check passwords before a reload of Dovecot are ended after
//     it: those that PAM needs are started with the new configuration, and do not fit.
//
// # What is refused
//
// With a sentence: SQL and LDAP back ends, Dovecot 2.4, maps that are not files,
// passwd-files that are looked up by anything but the whole address. With users of
// the system: users of LDAP or NIS beside those of /etc/passwd, logins by the name
// alone (auth_username_format other than %n and %Ln), delivery past Dovecot's LMTP
// (home_mailbox, mailbox_command, procmail), a limit for one account, a catch-all for
// one domain (luser_relay is read, not written), names that useradd would not take,
// and passwords in schemes that are Dovecot's own.
package postfix_dovecot
