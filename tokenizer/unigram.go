package tokenizer

type viterbiNode struct {
	score float32
	from  int32
	id    int32
}
