package main

import (
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"esimflow/internal/message"
	"esimflow/internal/pressone"
	"esimflow/internal/saga"
)

// The values that flags may have, as far as they are known.

func kinds() []string { return texts(message.Kinds()) }

func states() []string { return texts(saga.States()) }

// classes are the reasons of dead letters. A newer worker may know more, so they complete
// a flag and do not check it.
func classes() []string {
	return []string{
		pressone.ClassInsufficientCredit, pressone.ClassOutOfStock, pressone.ClassRecycled, pressone.ClassRejected,
		saga.ClassMalformed, saga.ClassConflict, saga.ClassExhausted, saga.ClassNotReady, saga.ClassOutcomeUnknown,
		saga.ClassNotOffered, saga.ClassExpired,
	}
}

func statuses() []string {
	return []string{"open", "replayed", "adopted", "confirmed_absent", "discarded", "any"}
}

func texts[T ~string](values []T) []string {
	var all []string
	for _, v := range values {
		all = append(all, string(v))
	}
	return all
}

// complete offers the values of a flag to the shell.
func complete(cmd *cobra.Command, flag string, values []string) {
	completeWith(cmd, flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

func completeWith(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err) // there is no such flag
	}
}

// flagsOf are the names of the flags that cmd itself has, without help.
func flagsOf(cmd *cobra.Command) []string {
	var names []string
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" {
			names = append(names, f.Name)
		}
	})
	return names
}

// oneOf refuses a value that is not one of those allowed; an empty one is fine.
func oneOf(flag, value string, allowed []string) error {
	if value == "" || slices.Contains(allowed, value) {
		return nil
	}
	return usagef("--%s %q is not one of %s", flag, value, strings.Join(allowed, ", "))
}

// checkICCID refuses what cannot be one; an empty one is fine.
func checkICCID(value string) error {
	if value == "" || message.ICCIDPattern.MatchString(value) {
		return nil
	}
	return usagef("--iccid %q is not 18 to 22 digits", value)
}

// uuids reads ids of dead letters, each once.
func uuids(args []string) ([]uuid.UUID, error) {
	var ids []uuid.UUID
	for _, arg := range args {
		id, err := aLetter.id(arg)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// exactly requires the arguments that names lists.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return usagef("%s takes %s", path(cmd), strings.Join(names, " "))
		}
		return nil
	}
}

// none refuses arguments.
func none(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no arguments, and got %q", path(cmd), args[0])
	}
	return nil
}
