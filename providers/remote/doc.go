// Package remote reaches the servers of a migration: it runs scripts on them
// over SSH, reads and replaces their files, starts work that outlives the
// connection, and tunnels bytes from one server to another through the operator.
// It knows nothing of what the servers are for.
//
// # Words
//
// A [Runner] is one machine: a [Host] over SSH, or this machine ([Local]), on
// which a script behaves exactly the same, so that scripts are tested without
// SSH. Everything else in the package is written over Runner:
//
//   - [Runner].Run runs a script to its end; [Runner].Stream gives its standard
//     input and output as a net.Conn.
//   - [ReadFiles], [Stat], [ListDir], [Glob] observe, in one round trip each.
//   - [Edit] and [Restore] change files; [Start], [State] and [Wait] run
//     detached operations.
//   - [Forwarder] opens ports and connections on the machine, [Bridge] joins two
//     of them.
//
// # Scripts and data
//
// A [Command] is a constant POSIX shell script with positional parameters, and
// data. No data is ever made part of a shell line: the parameters arrive in "$1",
// "$2", … byte for byte whatever they hold, the standard input as it is.
//
//	res, err := r.Run(ctx, remote.Command{
//		Name:   "look up an alias",
//		Script: `postmap -q "$1" "$2"`,
//		Args:   []string{address, "hash:/etc/postfix/virtual"},
//	})
//
// Parameters may show in the transcript of a debugging session and, once the
// script hands them to a program, in the process list. Secrets belong to Stdin.
//
// A script runs as root (by sudo -n if the user is another one) in /bin/sh, with
// an empty environment but for PATH and LC_ALL=C, umask 077, in the directory /.
// Login shells of any kind, noisy start-up files and closed connections do not
// reach it: script, parameters and Stdin arrive whole before its first command
// runs, or it does not run.
//
// A script that starts a daemon redirects all three of its descriptors.
//
// # Errors
//
// An error of a machine has two methods. Hint says what a person does next.
// Temporary says that nothing was done on the machine and that the same call may
// be repeated as it is. [Unknown] reports the third case: the script may have
// run, in whole or in part, and only an observation tells. A script that ends
// with a status other than 0 is an [ExitError].
//
//	type                     meaning                              Temporary  Unknown
//	*UnreachableError        no connection                        yes        no
//	*TimeoutError            no connection in time                yes        no
//	*HostKeyError            unknown, changed or revoked host key no         no
//	*AuthError, *KeyError    no key the server takes              no         no
//	*SudoError               sudo wants a password                no         no
//	*ShellError              a forced command or no shell at all  no         no
//	*CutError                connection lost or context done      before the script began, or else Unknown
//	*OutputError             more output than allowed             no         yes
//	*ExitError               the script said so                   no         no
//	*ConflictError           the file is not as expected          no         no
//	*RefusedError            the file cannot be replaced safely   no         no
//	*InvalidError            the new content failed validation    no         no
//	*LockedError             somebody else edits                  yes        no
//	*TornError               several files, stopped half-way      no         yes
//	*DiedError               an operation was killed              no         yes
//	*ForwardingError         the server carries no such bytes     no         no
//
// # The lock
//
// Edit holds the lock of the machine, flock(2) on the file "lock" in the state
// directory, from its first look at the files to the last rename, validation
// included. A script that must not run beside an edit takes it in the same way:
// exec 9>>"$1/lock"; flock 9. A check under the lock, such as that the operator is
// still the one in charge, is a Validate script.
//
// # What is left on a machine
//
// Everything lies under the state directory (/var/lib/mailmove, mode 0700):
// ops/ID/ for each operation until [Reap], backup/NAME/ for each file that was
// replaced, and the file lock. While a file is replaced, .FILE.mailmove-new and
// .FILE.mailmove-old lie beside it; after a crash the next Edit of the file
// removes them.
package remote
