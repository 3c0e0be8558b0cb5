package wire

import (
	"bufio"
	"compress/flate"
)

// compress has everything compressed from here on (RFC 4978), if the server can.
//
// Go's reader gives out what came before a full flush mark only (golang/go issue 31514): a
// server that ends its answers with zlib's Z_PARTIAL_FLUSH seems silent, and the guard
// ends the connection. Dovecot and Cyrus are understood.
func (c *Conn) compress() error {
	if !c.caps.Has("COMPRESS=DEFLATE") {
		return nil
	}
	cmd, err := c.run("asking for compression", "COMPRESS DEFLATE")
	if err != nil {
		return err
	}
	if cmd.answer.kind != "OK" {
		return nil // it works without, too
	}
	c.deflate, err = flate.NewWriter(c.stream, flate.BestSpeed)
	if err != nil {
		return c.lose(err)
	}
	c.w = bufio.NewWriterSize(c.deflate, cap(c.w.AvailableBuffer()))
	// What was read already and not looked at is compressed.
	c.r = bufio.NewReaderSize(flate.NewReader(c.r), maxLine)
	return nil
}
