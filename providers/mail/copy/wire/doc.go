// Package wire holds one connection to an IMAP server: it connects, protects, greets
// and logs in, and is then used in one of two ways.
//
//   - [Conn.Handover] gives the connection to go-imap, which sees a server that greets
//     it with PREAUTH: everything that reads (LIST, STATUS, FETCH, STORE, …) is done there.
//   - [Conn.Appender] writes messages, which go-imap does one round trip at a time: in one
//     MULTIAPPEND, or in APPENDs of which many are unanswered.
//
// An example:
//
//	conn, err := wire.Dial(ctx,
//		wire.Endpoint{Address: "imap.example.com:993"},
//		wire.Login{User: "murphy", Secret: password})
//	if err != nil {
//		return err
//	}
//	defer conn.Close()
//	results, err := conn.Appender("Archive").Append(ctx, messages)
//
// # Words
//
// An [Endpoint] says where the server is and how the way there is protected, a [Login] who
// logs in and by what. A literal is IMAP's form of a string that is announced with its
// size; a synchronising one waits until the server says go ahead. A result is what a
// server answered to one message.
//
// # Promises
//
//   - TLS is verified, always. Nothing is sent in clear over a network unless
//     [Endpoint.InsecurePlain] says so: the connection is not even opened. What a server
//     said before TLS counts for nothing after it, and bytes that came with the answer to
//     STARTTLS are an error.
//   - Secrets are in no error, even where the server repeats them.
//   - Nothing hangs: while the server owes an answer, or must take bytes, and no byte moves
//     in either direction for [Endpoint.Idle], the connection is closed with a
//     [SilenceError]. A context that ends closes the connection at once.
//   - A [Result] is true: without an error the server has the message, and with one it has
//     not, but for a [LostError] or [ProtocolError] with Began, after which one has to look.
//   - Memory is bounded whatever the server sends and however large a message is.
//   - Every error answers, by the methods of package providers/remote's errors, whether the
//     same call may be repeated (Temporary), whether it is open what became of it (Unknown)
//     and what to do (Hint).
//
// Whether a connection can still be used after an error, [Conn.Err] tells.
package wire
