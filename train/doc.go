// Package train owns training: the loop, the optimizer and its schedule, what
// a step is made of, checkpoints that resume bit for bit, validation and
// export. It covers continued pretraining, fine-tuning, LoRA and QLoRA. The
// derivatives are package grad's, the arithmetic package device's, the order
// of samples package dataset's, the pages about a run package report's.
package train
