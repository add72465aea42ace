package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/caarlos0/env/v11"
)

// Environ looks variables up in the environment of the process.
func Environ() func(name string) string { return os.Getenv }

// Problem is one thing that is wrong with the configuration.
type Problem struct {
	Name    string // the variable
	Wrong   string // what is wrong; holds no secret
	Example string // a right value
}

// Error is one line.
func (p *Problem) Error() string {
	return fmt.Sprintf("config: %s: %s; for example %s=%s", p.Name, p.Wrong, p.Name, p.Example)
}

// Load reads the configuration with getenv, to which an empty variable and a missing one
// are the same, and requires what need cannot do without. The error joins one [*Problem]
// for each thing that is wrong; the Config counts only without one.
func Load(getenv func(name string) string, need Need) (Config, error) {
	l := &loader{need: need, variables: Variables(), values: make(map[string]string)}
	l.collect(getenv)
	l.parse()
	l.require()
	l.check()
	l.sort()
	return l.cfg, errors.Join(l.problems...)
}

// loader gathers the values, the configuration and what is wrong with it.
type loader struct {
	need      Need
	variables []Variable
	values    map[string]string // by variable, files read
	cfg       Config
	problems  []error
}

// problem records that the variable is wrong. Only the first thing wrong with a variable
// is reported: the others mostly follow from it.
func (l *loader) problem(name, format string, args ...any) {
	if !l.ok(name) {
		return
	}
	i := l.position(name)
	l.problems = append(l.problems, &Problem{Name: name, Wrong: fmt.Sprintf(format, args...), Example: l.variables[i].Example})
}

func (l *loader) position(name string) int {
	return slices.IndexFunc(l.variables, func(v Variable) bool { return v.Name == name })
}

// sort puts the problems into the order of the documentation.
func (l *loader) sort() {
	slices.SortStableFunc(l.problems, func(a, b error) int {
		return l.positionOf(a) - l.positionOf(b)
	})
}

func (l *loader) positionOf(err error) int {
	if p, ok := errors.AsType[*Problem](err); ok {
		return l.position(p.Name)
	}
	return -1
}

// ok reports whether nothing is wrong with any of the variables so far.
func (l *loader) ok(names ...string) bool {
	return !slices.ContainsFunc(l.problems, func(err error) bool {
		p, ok := errors.AsType[*Problem](err)
		return ok && slices.Contains(names, p.Name)
	})
}

// collect looks up every variable, and reads the file that stands for it.
func (l *loader) collect(getenv func(string) string) {
	for _, v := range l.variables {
		value := getenv(v.Name)
		if v.File {
			if path := getenv(v.Name + "_FILE"); path != "" {
				if value != "" {
					l.problem(v.Name, "is set, and %s_FILE too: set one of them", v.Name)
					continue
				}
				value = l.readFile(v.Name, path)
			}
		}
		if value != "" {
			l.values[v.Name] = value
		}
	}
}

func (l *loader) readFile(name, path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		l.problem(name, "%s_FILE cannot be read: %v", name, err)
		return ""
	}
	value := strings.TrimRight(string(b), "\r\n")
	if value == "" {
		l.problem(name, "%s_FILE names an empty file: %s", name, path)
	}
	return value
}

// parse fills in the configuration, with the default where there is no value.
func (l *loader) parse() {
	err := env.ParseWithOptions(&l.cfg, env.Options{Environment: l.values, FuncMap: parsers})
	if err == nil {
		return
	}
	aggregate, ok := errors.AsType[env.AggregateError](err)
	if !ok {
		l.problems = append(l.problems, fmt.Errorf("config: %w", err))
		return
	}
	for _, err := range aggregate.Errors {
		parse, ok := errors.AsType[env.ParseError](err)
		if !ok {
			l.problems = append(l.problems, fmt.Errorf("config: %w", err))
			continue
		}
		i := slices.IndexFunc(l.variables, func(v Variable) bool { return v.field == parse.Name })
		l.problem(l.variables[i].Name, "%v", parse.Err)
	}
}

// require reports what is missing.
func (l *loader) require() {
	for _, v := range l.variables {
		if _, ok := l.values[v.Name]; !ok && slices.Contains(v.NeededBy, l.need) {
			l.problem(v.Name, "is not set, and %s needs it", needNames[l.need])
		}
	}
}

var needNames = map[Need]string{
	Worker:    "the worker",
	Publisher: "the publisher",
	Migrate:   "the migration",
	Streams:   "whoever talks to the streams",
	Client:    "whoever talks to the worker's API",
}
