package providers

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"reflect"
	"strings"

	"github.com/zclconf/go-cty/cty"
)

// SecretType is the type of an attribute that holds a [Secret]. In the language
// it is written secret("env:NAME"), secret("file:/path") or secret("exec:argv…").
var SecretType = cty.Capsule("secret", reflect.TypeFor[Secret]())

// A Secret is a reference to a secret. It holds no secret: the value is read at
// the moment of use and is never part of a plan, a state or a log.
type Secret struct{ reference string }

// NewSecret checks a reference without resolving it.
func NewSecret(reference string) (Secret, error) {
	scheme, rest, ok := strings.Cut(reference, ":")
	if !ok || rest == "" {
		return Secret{}, fmt.Errorf("secret reference %q: want \"env:NAME\", \"file:/path\" or \"exec:program argument…\"", reference)
	}
	switch scheme {
	case "env", "file", "exec":
		return Secret{reference: reference}, nil
	}
	return Secret{}, fmt.Errorf("secret reference %q: unknown scheme %q; use env, file or exec", reference, scheme)
}

// SecretVal returns s as a value.
func SecretVal(s Secret) cty.Value { return cty.CapsuleVal(SecretType, &s) }

// SecretFrom returns the secret in v, and whether there is one.
func SecretFrom(v cty.Value) (Secret, bool) {
	if v.IsNull() || !v.Type().Equals(SecretType) {
		return Secret{}, false
	}
	return *v.EncapsulatedValue().(*Secret), true
}

// Reference returns the reference, which is public.
func (s Secret) Reference() string { return s.reference }

func (s Secret) String() string       { return "secret(" + s.reference + ")" }
func (s Secret) GoString() string     { return s.String() }
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText writes the reference, in whatever encoding.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Resolve reads the secret: an environment variable, the content of a file
// without its last line end, or the first line a program prints (its words are
// separated by spaces; no shell is involved).
func (s Secret) Resolve(ctx context.Context) (string, error) {
	scheme, rest, _ := strings.Cut(s.reference, ":")
	switch scheme {
	case "env":
		value, ok := os.LookupEnv(rest)
		if !ok || value == "" {
			return "", Faultf("Set the environment variable "+rest+" and run the command again.", "resolving %v: the environment variable is not set", s)
		}
		return value, nil
	case "file":
		data, err := os.ReadFile(rest)
		if err != nil {
			return "", fmt.Errorf("resolving %v: %w", s, err)
		}
		return strings.TrimRight(string(data), "\r\n"), nil
	case "exec":
		argv := strings.Fields(rest)
		out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
		if err != nil {
			return "", fmt.Errorf("resolving %v: %w", s, err)
		}
		line, _, _ := strings.Cut(string(out), "\n")
		return strings.TrimRight(line, "\r"), nil
	}
	return "", fmt.Errorf("resolving an empty secret")
}
