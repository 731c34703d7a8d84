package suite_test

import (
	"fmt"

	"leolm/eval/suite"
)

// The numbers in an answer, in German and in English.
func ExampleNumbers() {
	fmt.Println(suite.Numbers("Das sind 1.234,50 Euro für 3 Karten.", ""))
	fmt.Println(suite.Numbers("1,234", "de"), suite.Numbers("1,234", "en"))
	// Output:
	// [1234.5 3]
	// [1.234] [1234]
}
