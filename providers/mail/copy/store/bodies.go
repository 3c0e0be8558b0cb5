package store

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// A Body is a message's content, to be read until the sequence goes on; what is left of it
// is then thrown away. It comes from the connection as it is read.
type Body struct {
	UID uint32
	// Size is how many octets there are to read.
	Size int64
	// Announced is RFC822.SIZE, -1 if the server does not say. A server for which it differs
	// from Size is wrong about it in its listings, too.
	Announced int64

	in     io.Reader
	read   int64
	broken bool // the connection ended before the body did
}

// Read implements [io.Reader]: at the end of the body it is [io.EOF], and if the connection
// breaks before, an error.
func (b *Body) Read(p []byte) (int, error) {
	n, err := b.in.Read(p)
	b.read += int64(n)
	if errors.Is(err, io.EOF) && b.read < b.Size {
		b.broken, err = true, io.ErrUnexpectedEOF
	}
	return n, err
}

// fetchBatch is how many messages a command fetches. Two commands are under way, so that the
// server need not wait for the next.
const fetchBatch = 500

// Bodies gives the bodies of messages, without setting \Seen. An error that is a
// [MessageError] is about one message, and the sequence goes on; any other is the last
// thing in it. Who stops before the end closes the connection: the server cannot be
// told to stop.
func (m *Mailbox) Bodies(ctx context.Context, uids []uint32) iter.Seq2[*Body, error] {
	return func(yield func(*Body, error) bool) {
		if err := m.check(); err != nil {
			yield(nil, err)
			return
		}
		d := &delivery{mailbox: m, missing: map[uint32]bool{}, yield: yield}
		for _, uid := range uids {
			d.missing[uid] = true
		}
		doing := "reading messages of " + quote(m.name)
		err := m.session.do(ctx, doing, func() error {
			m.session.screen.need("BODY[")
			defer m.session.screen.need("")
			return d.run(setsOf(uids, fetchBatch))
		})
		if err == nil && !d.stopped {
			err = d.settle(ctx)
		}
		if err != nil && !d.stopped {
			yield(nil, err)
		}
	}
}

// A delivery gives bodies to who asked for them.
type delivery struct {
	mailbox *Mailbox
	missing map[uint32]bool
	yield   func(*Body, error) bool
	stopped bool
}

// An arrival is a message that one of the commands under way brings, or its end.
type arrival struct {
	data  *imapclient.FetchMessageData
	goOn  chan<- bool // to be told when the message is done with; false if the command is to be left alone
	ended bool
	err   error
}

// run fetches sets of UIDs, two commands at a time. Dovecot begins to answer the second
// before it ends the first, and go-imap waits until what comes is taken: so both are
// listened to.
func (d *delivery) run(sets [][]uint32) error {
	arrivals := make(chan arrival)
	var errs []error
	for under := 0; ; {
		for len(sets) > 0 && under < 2 && !d.stopped && errs == nil {
			go bring(d.ask(sets[0]), arrivals)
			sets = sets[1:]
			under++
		}
		if under == 0 {
			return errors.Join(errs...)
		}
		a := <-arrivals
		if !a.ended {
			a.goOn <- d.take(a.data)
			continue
		}
		under--
		if a.err != nil {
			errs = append(errs, a.err)
		}
	}
}

func bring(cmd *imapclient.FetchCommand, to chan<- arrival) {
	for data := cmd.Next(); data != nil; data = cmd.Next() {
		goOn := make(chan bool)
		to <- arrival{data: data, goOn: goOn}
		if !<-goOn {
			to <- arrival{ended: true, err: io.ErrUnexpectedEOF}
			return
		}
	}
	to <- arrival{ended: true, err: cmd.Close()}
}

func (d *delivery) ask(uids []uint32) *imapclient.FetchCommand {
	return d.mailbox.session.client.Fetch(setOf(uids), &imap.FetchOptions{
		UID: true, RFC822Size: true, BodySection: []*imap.FetchItemBodySection{{Peek: true}},
	})
}

// take gives a message to who asked for it. It returns false if its body broke off: go-imap
// reads on by then, which its reader of the body would do, too, if it was asked for more.
func (d *delivery) take(data *imapclient.FetchMessageData) bool {
	body := &Body{Announced: -1}
	for item := data.Next(); item != nil; item = data.Next() {
		switch item := item.(type) {
		case imapclient.FetchItemDataUID:
			body.UID = uint32(item.UID)
		case imapclient.FetchItemDataRFC822Size:
			body.Announced = item.Size
		case imapclient.FetchItemDataBodySection:
			if item.Literal != nil && d.missing[body.UID] && !d.stopped {
				d.deliver(body, item.Literal)
			}
			if body.broken {
				return false
			}
		}
	}
	return true
}

func (d *delivery) deliver(body *Body, literal imap.LiteralReader) {
	body.Size, body.in = literal.Size(), literal
	delete(d.missing, body.UID)
	d.stopped = !d.yield(body, nil)
	if d.stopped && (len(d.missing) > 0 || body.read < body.Size) {
		d.mailbox.session.screen.end(errUnwanted)
	}
}

var errUnwanted = errors.New("the reader did not want the rest of the messages")

// settle asks once more for what did not come, and names what then is missing still.
func (d *delivery) settle(ctx context.Context) error {
	if len(d.missing) == 0 {
		return nil
	}
	m := d.mailbox
	there := map[uint32]bool{}
	for _, set := range setsOf(d.left(), fetchBatch) {
		found, err := m.search(ctx, setOf(set))
		if err != nil {
			return err
		}
		var again []uint32
		for _, uid := range found {
			if d.missing[uid] {
				there[uid], again = true, append(again, uid)
			}
		}
		if len(again) == 0 {
			continue
		}
		err = m.session.do(ctx, "reading messages of "+quote(m.name)+" again", func() error {
			m.session.screen.need("BODY[")
			defer m.session.screen.need("")
			return d.run([][]uint32{again})
		})
		if err != nil || d.stopped {
			return err
		}
	}
	for _, uid := range d.left() {
		err := &MessageError{UID: uid, Err: ErrVanished}
		if there[uid] {
			err.Err = ErrNoBody
		}
		if d.stopped = !d.yield(nil, err); d.stopped {
			return nil
		}
	}
	return nil
}

// left returns the UIDs whose bodies have not come, sorted.
func (d *delivery) left() []uint32 {
	var uids []uint32
	for uid := range d.missing {
		uids = append(uids, uid)
	}
	slices.Sort(uids)
	return uids
}
