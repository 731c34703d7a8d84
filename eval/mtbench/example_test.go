package mtbench_test

import (
	"fmt"
	"log"

	"leolm/eval/mtbench"
)

// From a judge's replies to the block that a card prints.
func ExampleScore() {
	set, err := mtbench.ParseQuestions("questions", []byte(`{
		"1": {"category": "math", "turns": ["Was ist 2 + 2?", "Und das Doppelte davon?"]},
		"2": {"category": "stem", "turns": ["Warum ist der Himmel blau?", "Und am Abend?"]}}`))
	if err != nil {
		log.Fatal(err)
	}
	replies, err := mtbench.ParseReplies("replies", []byte(`[
		{"question_id": "1", "turn_number": 0, "judge_reply": "Richtig. Bewertung: [[10]]"},
		{"question_id": "2", "turn_number": 0, "judge_reply": "Es fehlt die Streuung. Bewertung: [[4]]"},
		{"question_id": "1", "turn_number": 1, "judge_reply": "Falsch. Bewertung: [[1]]"},
		{"question_id": "2", "turn_number": 1, "judge_reply": "Kann ich nicht sagen."}]`))
	if err != nil {
		log.Fatal(err)
	}
	s, err := mtbench.Score(set, replies)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n%d without a rating\n", s.JSON(), len(s.Dropped))
	// Output:
	// {
	//     "first_turn": 7,
	//     "second_turn": 1,
	//     "categories": {
	//         "math": 5.5,
	//         "stem": 4
	//     },
	//     "average": 4.0
	// }
	// 1 without a rating
}
