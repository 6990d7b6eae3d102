// Package platform holds the words of Wherry as types: what a run, a machine, a task or a workspace is, which states they
// may be in, which moves between states are allowed, and who may do what. It is the rule book that pages, API, loops and
// the agent share, so it imports nothing of the project and does no input or output.
package platform
