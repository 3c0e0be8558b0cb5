package view

import (
	_ "embed"
	"html/template"
	"io"

	"github.com/mailmove/mailmove/engine/plan"
)

//go:embed page.html
var page string

// HTML writes a plan as one page that needs nothing from elsewhere.
func HTML(w io.Writer, p *plan.Plan, o Options) error {
	d, err := arrange(p, o)
	if err != nil {
		return err
	}
	t, err := template.New("plan").Funcs(template.FuncMap{"stageName": stageName}).Parse(page)
	if err != nil {
		return err
	}
	return t.Execute(w, d)
}
