from turnd.config.problems import ConfigError, Origin, Problem, format_path


def test_a_problem_in_a_file_has_line_and_column() -> None:
    problem = Problem(Origin("config.yaml", 3, 7), ("relay", "addresses", 0), "is wrong")
    assert str(problem) == "config.yaml:3:7: relay.addresses[0]: is wrong"


def test_a_problem_in_a_variable_names_the_variable() -> None:
    problem = Problem(Origin("TURND_REALM"), ("realm",), "is wrong")
    assert str(problem) == "TURND_REALM: realm: is wrong"
    assert problem.origin.is_variable
    assert not Origin("config.yaml", 1, 1).is_variable


def test_a_problem_without_path_is_about_the_whole() -> None:
    assert (
        str(Problem(Origin("config.yaml"), (), "cannot be read")) == "config.yaml: cannot be read"
    )


def test_an_error_is_one_line_a_problem() -> None:
    problems = [
        Problem(Origin("a", 1, 1), ("x",), "one"),
        Problem(Origin("a", 2, 1), ("y",), "two\nlines \x1b[31m"),
    ]
    error = ConfigError(problems)
    assert error.problems == problems
    assert str(error) == "a:1:1: x: one\na:2:1: y: two\\nlines \\x1b[31m"


def test_keys_with_dots_stand_in_quotes() -> None:
    assert format_path(("realms", "a.example", "listen", 2)) == 'realms["a.example"].listen[2]'
    assert format_path(("listn\n",)) == '["listn\\n"]'
