package report

import (
	"bytes"
	"encoding/xml"
	"io"
	"math"
	"strings"
	"testing"
)

func TestRadar(t *testing.T) {
	r := Radar{
		Title: "Noten <&>", Axes: []string{"oben", "rechts", "unten", "links"}, Lo: 0, Hi: 10,
		Series: []RadarSeries{{"ganz", []float64{10, 5, 0, 20}}, {"lückenhaft", []float64{1, math.NaN(), 3}}},
	}
	svg := string(r.SVG())
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("%v in %s", err, svg)
		}
	}
	// Top, half way to the right, the center, and the rim on the left for what lies outside.
	if want := `d="M280 50L355 200L280 200L130 200Z"`; !strings.Contains(svg, want) {
		t.Errorf("the polygon is not %s in %s", want, svg)
	}
	// A gap leaves two points without a line between them, and the polygon open.
	if want := `d="M280 185M280 245"`; !strings.Contains(svg, want) {
		t.Errorf("the broken line is not %s in %s", want, svg)
	}
	for _, want := range []string{"Noten &lt;&amp;&gt;", "lückenhaft", ">2.5<", ">10<"} {
		if !strings.Contains(svg, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if strings.Contains(svg, "NaN") {
		t.Error("NaN is drawn")
	}
	var page bytes.Buffer
	if err := (&Page{Sections: []Section{{Blocks: []Block{r, Radar{Title: "leer"}}}}}).WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	if got := page.String(); !strings.Contains(got, "no values yet") || strings.Count(got, "<svg") != 2 || !strings.Contains(got, `class="key"`) {
		t.Errorf("%s", got)
	}
}
