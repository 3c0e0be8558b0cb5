package seed

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// words of the bodies.
var words = strings.Fields(`the quarterly numbers are attached please have a look before monday our supplier has moved
	the delivery to next week and the meeting stays where it was thanks for the photographs they are lovely see you at
	the station around six regards`)

// A kind writes one sort of message. id is unique among all messages.
type kind func(random *rand.Rand, id string, date time.Time) []byte

// kinds are taken in turn; the first ones are the ordinary ones.
var kinds = []kind{plain, plain, plain, multipart, plain, noMessageID, plain, repeatedMessageID, eightBitHeader, plain,
	latinHeader, longLines, plain, empty, noLastLineEnd, looksLikeMbox}

func headers(id string, date time.Time, subject string) string {
	return fmt.Sprintf("Return-Path: <writer@sender.example>\r\nDate: %s\r\nFrom: A Writer <writer@sender.example>\r\n"+
		"To: <someone@example.com>\r\nSubject: %s\r\nMessage-ID: <%s@sender.example>\r\nMIME-Version: 1.0\r\n",
		date.Format(time.RFC1123Z), subject, id)
}

func body(random *rand.Rand, lines int) string {
	var b strings.Builder
	for range lines {
		for range 12 {
			b.WriteString(words[random.IntN(len(words))] + " ")
		}
		b.WriteString("\r\n")
	}
	return b.String()
}

func plain(random *rand.Rand, id string, date time.Time) []byte {
	return []byte(headers(id, date, "Letter "+id) + "Content-Type: text/plain; charset=us-ascii\r\n\r\n" + body(random, 1+random.IntN(60)))
}

func multipart(random *rand.Rand, id string, date time.Time) []byte {
	attachment := make([]byte, 1000+random.IntN(40000))
	for i := range attachment {
		attachment[i] = byte(random.Uint32())
	}
	var b bytes.Buffer
	b.WriteString(headers(id, date, "With attachment "+id))
	b.WriteString("Content-Type: multipart/mixed; boundary=\"=_x\"\r\n\r\n--=_x\r\nContent-Type: text/plain\r\n\r\n")
	b.WriteString(body(random, 5))
	b.WriteString("--=_x\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	writeBase64(&b, attachment)
	b.WriteString("--=_x--\r\n")
	return b.Bytes()
}

// writeBase64 writes data in lines of 76 (RFC 2045 section 6.8).
func writeBase64(b *bytes.Buffer, data []byte) {
	text := base64.StdEncoding.EncodeToString(data)
	for len(text) > 76 {
		b.WriteString(text[:76] + "\r\n")
		text = text[76:]
	}
	b.WriteString(text + "\r\n")
}

func noMessageID(random *rand.Rand, id string, date time.Time) []byte {
	return []byte("Date: " + date.Format(time.RFC1123Z) + "\r\nFrom: scanner@sender.example\r\nSubject: Scan " + id + "\r\n\r\n" + body(random, 3))
}

func repeatedMessageID(random *rand.Rand, id string, date time.Time) []byte {
	return []byte(headers("always-the-same", date, "From a broken mailer "+id) + "\r\n" + body(random, 2))
}

// eightBitHeader has raw UTF-8 in its header (RFC 6532).
func eightBitHeader(random *rand.Rand, id string, date time.Time) []byte {
	return []byte(headers(id, date, "Grüße aus Übersee, 日本語 "+id) + "Content-Type: text/plain; charset=utf-8\r\n\r\nGrüße\r\n" + body(random, 2))
}

// latinHeader has bytes that are not UTF-8, as old programs write.
func latinHeader(random *rand.Rand, id string, date time.Time) []byte {
	return []byte(headers(id, date, "Gr\xfc\xdfe "+id) + "Content-Type: text/plain; charset=iso-8859-1\r\n\r\nGr\xfc\xdfe\r\n" + body(random, 2))
}

// longLines go far beyond the 998 characters of RFC 5322 section 2.1.1.
func longLines(random *rand.Rand, id string, date time.Time) []byte {
	return []byte(headers(id, date, "Long lines "+id) + "\r\n" + strings.Repeat("x", 20000) + "\r\n" + strings.Repeat("<td>", 3000) + "\r\n" + body(random, 1))
}

func empty(_ *rand.Rand, id string, date time.Time) []byte {
	return []byte(headers(id, date, "Nothing "+id) + "\r\n")
}

func noLastLineEnd(random *rand.Rand, id string, date time.Time) []byte {
	return append([]byte(headers(id, date, "Cut off "+id)+"\r\n"+body(random, 2)), "the end"...)
}

// looksLikeMbox has lines that old formats take for the start of a message, and a lone dot.
func looksLikeMbox(random *rand.Rand, id string, date time.Time) []byte {
	return []byte(headers(id, date, "Mbox "+id) + "\r\nFrom writer@sender.example Mon Jan  1 00:00:00 2024\r\n.\r\n..\r\n>From here\r\n" + body(random, 2))
}

// huge is a message of 20 MB.
func huge(random *rand.Rand, id string, date time.Time) []byte {
	data := make([]byte, 15<<20)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	var b bytes.Buffer
	b.WriteString(headers(id, date, "The video "+id))
	b.WriteString("Content-Type: video/mp4\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	writeBase64(&b, data)
	return b.Bytes()
}
