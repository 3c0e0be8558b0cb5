package postfix_dovecot

import (
	"context"
	_ "embed"
	"slices"
	"strings"

	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/remote"
)

var _ mail.DomainStore = (*System)(nil)

// domainList is the parameter that lists the domains of accounts.
func (l *layout) domainList() string {
	if l.system() {
		return "mydestination"
	}
	return "virtual_mailbox_domains"
}

// domainFiles returns the maps of the list of domains, and the names that stand in
// main.cf itself.
func (s *System) domainFiles(ctx context.Context) (files []*mapFile, listed []string, err error) {
	l, err := s.look(ctx)
	if err != nil {
		return nil, nil, err
	}
	maps, list := *l, l.domainList()
	maps.postfix = map[string]string{}
	for _, word := range splitList(l.postfix[list]) {
		if strings.Contains(word, ":") || strings.HasPrefix(word, "/") {
			maps.postfix[list] += " " + word
		} else {
			listed = append(listed, strings.ToLower(word))
		}
	}
	files, err = s.mapFiles(ctx, &maps, list)
	return files, listed, err
}

// Accepts implements [mail.DomainStore].
func (s *System) Accepts(ctx context.Context, domain string) (bool, error) {
	files, listed, err := s.domainFiles(ctx)
	if err != nil {
		return false, err
	}
	mark, err := remote.ReadFiles(ctx, s.runner, reloadMark)
	if err != nil {
		return false, err
	}
	switch strings.TrimSpace(string(mark[0].Content)) {
	case "add " + domain:
		return false, nil
	case "remove " + domain:
		return true, nil
	}
	if slices.Contains(listed, domain) {
		return true, nil
	}
	return slices.ContainsFunc(files, func(f *mapFile) bool {
		_, found := f.find(domain)
		return found
	}), nil
}

// reloadMark says "add DOMAIN" or "remove DOMAIN" from before main.cf is changed until
// Postfix has been reloaded: between the two what main.cf says is not in force.
const reloadMark = "/var/lib/mailmove/reload"

//go:embed scripts/domain.sh
var domainScript string

// PutDomain implements [mail.DomainStore].
func (s *System) PutDomain(ctx context.Context, op, domain string, accept bool) error {
	files, listed, err := s.domainFiles(ctx)
	if err != nil {
		return err
	}
	l, err := s.look(ctx)
	if err != nil {
		return err
	}
	verb := "take"
	inMaps := slices.ContainsFunc(files, func(f *mapFile) bool { _, found := f.find(domain); return found })
	inList := slices.Contains(listed, domain)
	switch {
	case accept && !inMaps && !inList && len(files) > 0:
		files[0].set(domain, "ok")
	case accept && !inMaps && !inList:
		verb = "add"
	case !accept:
		for _, f := range files {
			f.set(domain, "")
		}
		if inList {
			verb = "remove"
		}
	}
	if err := s.write(ctx, op, files...); err != nil {
		return err
	}
	_, err = s.runner.Run(ctx, remote.Command{Name: "take the domains into use", Script: reloadScript + domainScript, Args: []string{l.domainList(), domain, verb}})
	s.Refresh()
	return refusal(err)
}
