package copytest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Patterns are regular expressions (package regexp) for commands without their tags, or for responses, whatever their
// case. "." matches no line end, and "^" only what a response begins with.

func pattern(text string) *regexp.Regexp { return regexp.MustCompile("(?i)" + text) }

// Refuse answers the commands that match in the server's place: "NO [OVERQUOTA] Quota exceeded". A command with a
// literal is answered before the literal.
func Refuse(command, answer string) Lie {
	match := pattern(command)
	return Lie{Command: func(t *Talk) string {
		if !match.MatchString(t.Command) {
			return ""
		}
		return t.Tag + " " + answer + "\r\n"
	}}
}

// Bye says goodbye instead of answering the commands that match, and hangs up.
func Bye(command, text string) Lie {
	match := pattern(command)
	return Lie{Command: func(t *Talk) string {
		if !match.MatchString(t.Command) {
			return ""
		}
		t.HangUp()
		return "* BYE " + text + "\r\n"
	}}
}

// Silent never answers the commands that match, nor any later one of that connection.
func Silent(command string) Lie {
	match := pattern(command)
	return Lie{Command: func(t *Talk) string {
		if match.MatchString(t.Command) {
			t.FallSilent()
		}
		return ""
	}}
}

// Interject says something before each response that matches; the line end is added.
func Interject(response, text string) Lie {
	match := pattern(response)
	return Lie{Response: func(_ *Talk, response string) string {
		if match.MatchString(response) {
			return text + "\r\n" + response
		}
		return response
	}}
}

// Replace puts other words into responses, as [regexp.Regexp.ReplaceAllString] does.
func Replace(words, by string) Lie {
	match := pattern(words)
	return Lie{Response: func(_ *Talk, response string) string { return match.ReplaceAllString(response, by) }}
}

// replaceNumber puts another number in the place of the one in the parentheses of a pattern.
func replaceNumber(words string, other func(int64) int64) Lie {
	match := pattern(words)
	return Lie{Response: func(_ *Talk, response string) string {
		found := match.FindStringSubmatchIndex(response)
		if found == nil {
			return response
		}
		number, err := strconv.ParseInt(response[found[2]:found[3]], 10, 64)
		if err != nil {
			return response
		}
		return response[:found[2]] + strconv.FormatInt(other(number), 10) + response[found[3]:]
	}}
}

// Times tells a lie only the first n times that it changes something.
func Times(n int, lie Lie) Lie {
	var limited Lie
	if lie.Command != nil {
		limited.Command = func(t *Talk) string {
			if n == 0 {
				return ""
			}
			text := lie.Command(t)
			if text != "" || t.silent || t.hungUp {
				n--
			}
			return text
		}
	}
	if lie.Response != nil {
		limited.Response = func(t *Talk, response string) string {
			if n == 0 {
				return response
			}
			text := lie.Response(t, response)
			if text != response {
				n--
			}
			return text
		}
	}
	return limited
}

const (
	fetchResponse = `^\* \d+ FETCH \(`
	bodyResponse  = fetchResponse + `.*BODY\[\] ` // of a response that has nothing of several lines before the body
)

// GiantLiteral announces that a message's body is of size octets, sends the few that it has, and hangs up.
func GiantLiteral(size int64) Lie {
	match := pattern(`(` + bodyResponse + `\{)\d+`)
	return Lie{Response: func(t *Talk, response string) string {
		if !match.MatchString(response) {
			return response
		}
		t.HangUp()
		return match.ReplaceAllString(response, fmt.Sprintf("${1}%d", size))
	}}
}

// WrongTag ends the commands that match with the tag of another.
func WrongTag(command string) Lie {
	match := pattern(command)
	return Lie{Response: func(t *Talk, response string) string {
		if rest, ok := strings.CutPrefix(response, t.Tag+" "); ok && match.MatchString(t.Command) {
			return t.Tag + "X " + rest
		}
		return response
	}}
}

// ReverseUIDs has the UIDs of messages fall where they should rise: 1000 less the right one.
func ReverseUIDs() Lie {
	return replaceNumber(fetchResponse+`.*?\bUID (\d+)`, func(uid int64) int64 { return 1000 - uid })
}

// TwinUIDs gives the same UID to two messages each: 1, 1, 3, 3, …
func TwinUIDs() Lie {
	return replaceNumber(fetchResponse+`.*?\bUID (\d+)`, func(uid int64) int64 { return (uid-1)&^1 + 1 })
}

// WrongSize tells of other sizes than those of the bodies.
func WrongSize(more int64) Lie {
	return replaceNumber(fetchResponse+`.*?\bRFC822\.SIZE (\d+)`, func(size int64) int64 { return max(0, size+more) })
}

// ChangingUIDValidity makes UIDVALIDITY another at every SELECT, EXAMINE and STATUS.
func ChangingUIDValidity() Lie {
	count := int64(0)
	return replaceNumber(`\bUIDVALIDITY (\d+)`, func(validity int64) int64 {
		count++
		return validity + count
	})
}

// ExtraMailbox lists one more mailbox, with any octets in its name.
func ExtraMailbox(name string) Lie {
	return Lie{Response: func(t *Talk, response string) string {
		if strings.HasPrefix(response, t.Tag+" OK") && strings.HasPrefix(strings.ToUpper(t.Command), "LIST") {
			return fmt.Sprintf("* LIST () \"/\" {%d}\r\n%s\r\n%s", len(name), name, response)
		}
		return response
	}}
}

// ExtraFlag adds a flag, of any octets, to every message's.
func ExtraFlag(flag string) Lie {
	match := pattern(`(` + fetchResponse + `(?:.* )?FLAGS \()(\)?)`)
	return Lie{Response: func(_ *Talk, response string) string {
		return match.ReplaceAllStringFunc(response, func(found string) string {
			if rest, empty := strings.CutSuffix(found, ")"); empty {
				return rest + flag + ")"
			}
			return found + flag + " "
		})
	}}
}

// UnsolicitedFetch tells of a message's flags before its body comes, as servers do when another client has changed
// them.
func UnsolicitedFetch() Lie {
	match := pattern(`^(\* \d+ FETCH \().*?\b(UID \d+)`)
	return Lie{Response: func(_ *Talk, response string) string {
		found := match.FindStringSubmatch(response)
		if found == nil || !strings.Contains(response, "BODY[] ") {
			return response
		}
		return found[1] + found[2] + " FLAGS (\\Seen))\r\n" + response
	}}
}

// NilBody sends NIL in the place of bodies, as some servers do for messages that they cannot read.
func NilBody() Lie {
	match := pattern(bodyResponse + `(\{(\d+)\}\r\n)`)
	return Lie{Response: func(_ *Talk, response string) string {
		found := match.FindStringSubmatchIndex(response)
		if found == nil {
			return response
		}
		size, err := strconv.Atoi(response[found[4]:found[5]])
		if err != nil {
			return response
		}
		return response[:found[2]] + "NIL" + response[found[3]+size:]
	}}
}

// ExpungeUnderWay tells, before the second body of a command, that the first message has gone.
func ExpungeUnderWay() Lie {
	match := pattern(bodyResponse)
	tag, count := "", 0
	return Lie{Response: func(t *Talk, response string) string {
		if !match.MatchString(response) {
			return response
		}
		if t.Tag != tag {
			tag, count = t.Tag, 0
		}
		if count++; count == 2 {
			return "* 1 EXPUNGE\r\n" + response
		}
		return response
	}}
}
