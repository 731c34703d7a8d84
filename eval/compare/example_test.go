package compare_test

import (
	"fmt"

	"leolm/eval/compare"
	"leolm/eval/harness"
)

// Two models on the same documents: the pairs decide.
func ExampleResults() {
	var a, b []harness.Record
	for i := range 40 {
		r := harness.Record{Doc: i, Hash: fmt.Sprint(i), Asked: "q", Metrics: map[string]float64{"acc": float64(i % 2)}}
		a = append(a, r)
		if i < 12 {
			r.Metrics = map[string]float64{"acc": 1}
		}
		b = append(b, r)
	}
	rows, err := compare.Results("task", a, b)
	if err != nil {
		fmt.Println(err)
		return
	}
	p := rows[0]
	fmt.Printf("%.3f and %.3f, B alone is right in %d, p = %.4f\n", p.A, p.B, *p.OnlyB, *p.P)
	// Output: 0.500 and 0.650, B alone is right in 6, p = 0.0313
}
