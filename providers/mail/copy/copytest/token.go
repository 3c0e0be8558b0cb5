package copytest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"
)

func newTokenKey() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	return key
}

// Token returns an access token that lets its bearer in as the user, until a time: a JWT (RFC 7519) that Dovecot checks
// by itself. It is for servers with [Options.Tokens].
func (s *Server) Token(user User, until time.Time) string {
	part := base64.RawURLEncoding.EncodeToString
	token := part([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." +
		part(fmt.Appendf(nil, `{"sub":%q,"iat":%d,"exp":%d}`, user.Name, time.Now().Add(-time.Hour).Unix(), until.Unix()))
	mac := hmac.New(sha256.New, s.tokenKey)
	mac.Write([]byte(token))
	return token + "." + part(mac.Sum(nil))
}
