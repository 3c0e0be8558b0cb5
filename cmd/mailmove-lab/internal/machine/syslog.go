package machine

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"time"
)

// facilityMail is RFC 5424 section 6.2.1's number for the mail system.
const facilityMail = 2

// header is what syslog(3) writes before the text: the priority and a time without year.
var header = regexp.MustCompile(`^<(\d{1,3})>(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d )?`)

// listenSyslog takes what programs say to /dev/log and writes it as Debian's rsyslog does: mail to /var/log/mail.log,
// the rest to /var/log/syslog.
func listenSyslog(hostname string) error {
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "/dev/log", Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("listening on /dev/log: %w", err)
	}
	if err := os.Chmod("/dev/log", 0o666); err != nil {
		return err
	}
	files := make(map[string]*os.File)
	for _, name := range []string{"/var/log/mail.log", "/var/log/syslog"} {
		file, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
		if err != nil {
			return fmt.Errorf("opening log: %w", err)
		}
		files[name] = file
	}
	go func() {
		buffer := make([]byte, 64<<10)
		for {
			n, err := socket.Read(buffer)
			if err != nil {
				fmt.Fprintln(os.Stderr, "reading /dev/log:", err)
				return
			}
			name, line := format(hostname, time.Now(), string(buffer[:n]))
			if _, err := files[name].WriteString(line); err != nil {
				fmt.Fprintln(os.Stderr, "writing log:", err)
			}
		}
	}()
	return nil
}

// format turns a datagram of syslog(3) into the line rsyslog would write, and says into which file.
func format(hostname string, now time.Time, datagram string) (file, line string) {
	file = "/var/log/syslog"
	match := header.FindStringSubmatch(datagram)
	if match != nil {
		datagram = datagram[len(match[0]):]
		if priority, err := strconv.Atoi(match[1]); err == nil && priority/8 == facilityMail {
			file = "/var/log/mail.log"
		}
	}
	return file, fmt.Sprintf("%s %s %s\n", now.Format("2006-01-02T15:04:05.000000-07:00"), hostname, datagram)
}
