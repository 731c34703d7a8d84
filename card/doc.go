// Package card writes model cards: the README.md of a model on the Hugging Face hub, with its front matter.
//
// It owns the way from facts to Markdown. A Config has what only people know (names, texts, licenses) and the paths of
// what was measured: a model, the records of training runs, the statistics of prepared data, the artifacts of evaluations.
// Gather reads and checks these; Facts.Render fills a template. A template asks for numbers by name, and one that no file
// has is an error that says which: there are no placeholders. An artifact that is incomplete, of another model, or whose
// files have changed is refused.
//
// It measures nothing and talks to nobody: the packages below eval do the one, a program of the hub's the other.
package card
