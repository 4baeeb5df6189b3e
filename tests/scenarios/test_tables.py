import gzip

import numpy as np
import pandas as pd
import pytest
import torch

from perdure import compare
from perdure.scenarios import Regression, check_stream, get, permuted, split
from perdure.scenarios.sources import adult, table
from perdure.scenarios.sources.columns import Category, Number


def frame(n=40):
    return pd.DataFrame(
        {
            "age": np.arange(n) * 1.5,
            "colour": [["red", "green", "blue"][i % 3] for i in range(n)],
            "label": [["no", "yes"][i % 2] for i in range(n)],
            "site": [f"s{i // 4 % 2}" for i in range(n)],
        }
    )


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
def test_formats_agree(ending, tmp_path):
    path = tmp_path / f"t{ending}"
    if ending == ".parquet":
        frame().to_parquet(path)
    else:
        frame().to_csv(path, index=False)
    source = table(path, "label", domain="site")
    assert source.name == "t"
    assert source.x.shape == (32, 4)
    assert source.class_names == ("no", "yes")
    assert source.domain_names == ("s0", "s1")
    stream = get(f"split-table(path={str(path)!r}, label=2, domain=-1, setting='domain')")
    assert stream.names == ["s0", "s1"]
    check_stream(stream)
    assert stream.fingerprint() == split(source, setting="domain").fingerprint()


def test_statistics_are_those_of_the_training_rows(tmp_path):
    train, test = tmp_path / "a.csv", tmp_path / "b.csv"
    train.write_text("a,b,y\n0,x,0\n2,x,1\n4,z,0\n,?,1\n")
    test.write_text("a,b,y\n100,new,1\n,z,0\n")
    source = table(train, "y", test=test)
    # Values 0, 2, 4 and the median 2: mean 2, deviation sqrt(2). Then: is it missing; (missing), x, z.
    root = 2**0.5
    expected = [
        [-root, 0, 0, 1, 0],
        [0, 0, 0, 1, 0],
        [root, 0, 0, 0, 1],
        [0, 1, 1, 0, 0],
    ]
    torch.testing.assert_close(source.x, torch.tensor(expected))
    expected_test = [[98 / root, 0, 0, 0, 0], [0, 1, 0, 0, 1]]
    torch.testing.assert_close(source.x_test, torch.tensor(expected_test))
    assert source.y_test.tolist() == [1, 0]


def test_statistics_do_not_see_the_rows_set_aside(tmp_path):
    path = tmp_path / "t.csv"
    frame().to_csv(path, index=False)
    source = table(path, "label", drop=["colour", "site"])
    assert float(source.x.mean()) == pytest.approx(0, abs=1e-6)
    assert float(source.x.std(correction=0)) == pytest.approx(1, abs=1e-6)
    assert float(source.x_test.mean()) != pytest.approx(0, abs=1e-6)


def test_no_header_and_named_categories(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("".join(f"{i % 2},{i},{i % 4}\n" for i in range(40)))
    source = table(path, 0, header=False, categorical=[2])
    assert source.x.shape == (32, 5)
    assert source.class_names == ("0", "1")


def test_a_constant_and_an_empty_column_are_harmless(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b,y\n" + "".join(f"7,,{i % 2}\n" for i in range(20)))
    source = table(path)
    assert source.x.tolist() == [[0, 0, 1]] * 16


def test_classes_are_numbered_in_their_order(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,y\n" + "".join(f"{i},{[10, 9, 100][i % 3]}\n" for i in range(30)))
    assert table(path).class_names == ("9", "10", "100")


def test_labels_of_the_test_table_may_lack_a_class_and_be_typed_otherwise(tmp_path):
    train, test = tmp_path / "a.parquet", tmp_path / "b.parquet"
    pd.DataFrame({"a": [1.0, 2, 3, 4], "y": [0, 1, 0, 1]}).to_parquet(train)
    pd.DataFrame({"a": [1.0], "y": [1.0]}).to_parquet(test)
    assert table(train, "y", test=test).y_test.tolist() == [1]


def test_parquet_kinds(tmp_path):
    path = tmp_path / "t.parquet"
    data = frame()
    data["flag"] = [i % 2 == 0 for i in range(40)]
    data["kind"] = pd.Categorical(data["colour"])
    data["count"] = pd.array([None, *range(39)], dtype="Int64")
    data.to_parquet(path)
    # age 1, colour 3, site 2, flag 1, kind 3, count 1 and perhaps its indicator.
    assert table(path, "label").x.shape[1] in (11, 12)
    check_stream(split(table(path, "label")))


def write(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "arguments", "words"),
    [
        ("", {}, ["cannot read", "t.csv"]),
        ("a,y\n", {}, ["rows", "none"]),
        ('a,y\n"1,2\n3', {}, ["t.csv"]),
        ("a,y\n1,2,3\n1,2,3,4,5\n", {}, ["cannot read", "t.csv"]),
        ("a,y\n1,0\n2,1\n", {"label": "z"}, ["no column 'z'", "a, y"]),
        ("a,y\n1,0\n2,1\n", {"label": 2}, ["no column 2"]),
        ("a,y\n1,0\n2,1\n", {"label": True}, ["label must be", "found True"]),
        ("a,y\n1,0\n2,1\n", {"drop": ["b"]}, ["no column 'b'"]),
        ("a,y\n1,0\n2,\n3,1\n", {}, ["'y'", "1 of 3 lack"]),
        (
            "a,y\n1,0.5\n2,1.5\n3,1\n",
            {"objective": "classification"},
            ["'y'", "classes", "3 different real numbers"],
        ),
        ("a,y\n1,no\n2,yes\n3,no\n", {"objective": "regression"}, ["'y'", "which a regression needs"]),
        ("a,y\n1,0\n2,1\n3,0\n", {"objective": "regresion"}, ["unknown objective", "regression"]),
        ("a,y\n1,0\n2,1\n3,0\n", {"by": "month"}, ["`by` needs a column of dates", "none"]),
        ("a,y\n1,0\n2,1\n3,0\n", {"by": "month", "domain": "a"}, ["'a' must hold a date", "month"]),
        ("a,y\n1,0\n2,1\n3,0\n", {"by": "week"}, ["by must be", "'week'"]),
        ("a,y\ninf,0\n2,1\n1,0\n4,1\n", {}, ["'a'", "finite"]),
        ("y\n0\n1\n0\n1\n", {}, ["feature column"]),
        (
            "a,y\n" + "".join(f"k{i},{i % 2}\n" for i in range(1300)),
            {},
            ["feature column", "left out", "1300"],
        ),
        ("a,y\n" + "".join(f"k{i // 2},{i % 2}\n" for i in range(2600)), {}, ["1000 categories", "`drop`"]),
    ],
)
def test_bad_tables(text, arguments, words, tmp_path, refuses):
    with refuses(*words):
        table(write(tmp_path / "t.csv", text), **arguments)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("b,y\n1,0\n", ["columns of", "['b', 'y']"]),
        ("a,y\nfoo,0\n", ["'a' must hold numbers"]),
        ("a,y\n1,7\n", ["'7' does not occur", "0, 1"]),
        ("a,y\n1,\n", ["'y'", "lack"]),
    ],
)
def test_bad_test_tables(text, words, tmp_path, refuses):
    train = write(tmp_path / "a.csv", "a,y\n" + "1,0\n2,1\n" * 5)
    with refuses(*words):
        table(train, test=write(tmp_path / "b.csv", text))


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet"])
@pytest.mark.parametrize(
    "content", [b"\x00\xff\xfe\x81garbage", b"PAR1", gzip.compress(b"a,y\n1,0\n" * 99, mtime=0)[:30]]
)
def test_garbage(name, content, tmp_path, refuses):
    path = tmp_path / name
    path.write_bytes(content)
    with refuses(str(path.name)):
        check_stream(split(table(path)))


def test_no_file(tmp_path, refuses):
    with refuses("no table at", "nowhere.csv"):
        table(tmp_path / "nowhere.csv")
    with refuses("path must be", "5"):
        table(5)


@pytest.mark.parametrize("kind", [Number, Category])
def test_encoders_give_one_row_for_each(kind):
    values = pd.Series([1.0, 2.0, np.nan])
    assert kind.fit("a", values).encode(values).shape[0] == 3


RECORD = "{age}, Private, 1000, Bachelors, 13, {wed}, Sales, {rel}, White, Male, 0, 0, 40, {land}, {income}\n"


def write_adult(folder):
    rows = [
        RECORD.format(
            age=20 + i, wed=["Never-married", "Divorced"][i % 2], rel=["Wife", "Own-child"][i // 2 % 2],
            income=["<=50K", ">50K"][i // 4 % 2], land=["?", "Cuba"][i // 8 % 2],
        )
        for i in range(80)
    ]  # fmt: skip
    (folder / "adult_train.csv").write_text("".join(rows) + "\n")
    dotted = "".join("9" + row.replace("50K", "50K.") for row in rows[:16])
    with gzip.open(folder / "adult_test.csv.gz", "wt") as file:
        file.write("|1x3 Cross validator\n" + dotted + "\n")


def test_adult_of_small_files(folder):
    write_adult(folder)
    source = adult()
    assert source.class_names == ("<=50K", ">50K")
    assert [len(source.y), len(source.y_test)] == [80, 16]
    # Six numbers; one value of five categories; two of marriage, relationship and country (with "missing").
    assert source.x.shape[1] == 6 + 5 + 6
    check_stream(get("split-adult(domain='relationship', setting='domain')"))
    assert adult("marital-status").class_names == ("Divorced", "Never-married")


def test_adult_missing_or_strange(folder, refuses):
    with refuses("adult_train.csv.gz", str(folder), "PERDURE_DATA"):
        adult()
    write_adult(folder)
    with refuses("unknown column of adult 'incme'", "income"):
        adult("incme")
    (folder / "adult_train.csv").write_bytes(b"\x1f\x8b broken")
    with refuses("cannot read", "adult_train.csv"):
        adult()
    (folder / "adult_train.csv").write_text("a,b\n1,2\n")
    with refuses("'income'"):
        adult()


ROWS = "".join(f"{i},{i % 5},{i % 2}\n" for i in range(20))


@pytest.mark.parametrize(
    ("text", "arguments", "words"),
    [
        ("a,y,y\n" + ROWS, {}, ["names of the columns", "'y'"]),
        ("a,y\n" + ROWS, {}, ["cannot read", "t.csv"]),  # a field more than names: no silent index
        ("a,b,y\n" + ROWS, {"separator": ";"}, ["feature column"]),
        ("a,b,y\n" + ROWS, {"separator": ";;"}, ["`separator`", "';;'"]),
        ("a,b,y\n" + ROWS, {"separator": 5}, ["separator", "5"]),
        ("a,b,y\n" + ROWS, {"header": "no"}, ["header", "'no'"]),
        ("a,b,y\n" + ROWS, {"drop": 2.5}, ["drop must be", "2.5"]),
        ("a,b,y\n" + ROWS, {"drop": "ab"}, ["no column 'ab'"]),
        ("a,b,y\n" + ROWS, {"domain": "y"}, ["label and domain", "'y'"]),
        ("a,b,y\n" + ROWS + "3,4,inf\n", {}, ["'y' must be finite", "row 20 "]),
        ("a,b,y\n1,2,0\n3,inf,1\n" + ROWS, {}, ["'b'", "row 1 "]),
        ("a,b,y\n1,2,0\n3,2,\n" + ROWS, {}, ["'y'", "first row 1 "]),
        ("a,b,y\n1e308,2,0\n-1e308,2,1\n" + ROWS, {}, ["'a'", "squares are finite"]),
    ],
)
def test_tables_that_would_be_misread(text, arguments, words, tmp_path, refuses):
    with refuses(*words):
        table(write(tmp_path / "t.csv", text), **arguments)


def test_a_single_column_is_a_list_of_one(tmp_path):
    path = write(tmp_path / "t.csv", "ab,b,y\n" + ROWS)
    assert torch.equal(table(path, drop="ab").x, table(path, drop=["ab"]).x)
    assert table(path, drop="ab", categorical="b").x.shape[1] == 5


def test_what_stands_at_the_beginning_of_a_file(tmp_path):
    plain = table(write(tmp_path / "t.csv", "a,b,y\n" + ROWS))
    marked = tmp_path / "u.csv"
    marked.write_bytes("\ufeffa,b,y\r\n".encode() + ROWS.replace("\n", "\r\n").encode())
    assert torch.equal(plain.x, table(marked).x)


def test_classes_of_long_numbers_stay_apart(tmp_path):
    frame = pd.DataFrame({"a": range(40), "y": [1234567.0 + i % 2 for i in range(40)]})
    frame.to_parquet(tmp_path / "t.parquet")
    assert table(tmp_path / "t.parquet", "y").class_names == ("1234567", "1234568")
    frame["c"] = [0.12345671 + (i % 2) * 1e-8 for i in range(40)]
    frame.to_parquet(tmp_path / "t.parquet")
    assert table(tmp_path / "t.parquet", "y", drop="a", categorical="c").x.shape[1] == 2


def test_a_constant_that_rounding_does_not_keep_constant(tmp_path):
    train = write(tmp_path / "a.csv", "a,y\n" + "".join(f"0.1,{i % 2}\n" for i in range(7)))
    test = write(tmp_path / "b.csv", "a,y\n0.2,0\n0.1,1\n")
    source = table(train, test=test)
    assert float(source.x.abs().max()) < 1e-6
    assert float(source.x_test.abs().max()) == pytest.approx(0.1)


@pytest.mark.parametrize("column", ["a", "y"])
@pytest.mark.parametrize("value", [[1, 2], {"k": 1}])
def test_lists_in_columns(column, value, tmp_path, refuses):
    frame = pd.DataFrame({"a": range(12), "y": [0, 1] * 6})
    frame[column] = [value] * 12
    frame.to_parquet(tmp_path / "t.parquet")
    with refuses(repr(column), "lists"):
        table(tmp_path / "t.parquet", "y")


@pytest.mark.parametrize("name", ["a\0b.csv", "x" * 5000, "~nobody-of-this-name/t.csv"])
def test_names_of_no_file(name, refuses):
    with refuses("table"):
        table(name)


def test_a_folder_is_no_table(tmp_path, refuses):
    with refuses("cannot read"):
        table(tmp_path)


# ---- data frames, regressions, dates, odd columns -----------------------------------------------------


def test_a_data_frame_is_a_table(tmp_path):
    path = tmp_path / "t.csv"
    frame().to_csv(path, index=False)
    before = frame()
    source = table(before, "label", domain="site")
    assert source.name == "table"
    assert torch.equal(source.x, table(path, "label", domain="site").x)
    pd.testing.assert_frame_equal(before, frame())
    check_stream(split(source, setting="domain"))
    held = table(frame(), "label", test=frame(8))
    assert len(held.y_test) == 8


def test_data_frames_that_are_no_tables(refuses):
    with refuses("rows"):
        table(frame(0), "label")
    with refuses("names of the columns", "'age'"):
        table(pd.concat([frame(), frame()[["age"]]], axis=1), "label")
    with refuses("path must be", "DataFrame"):
        table(frame()["age"])
    with refuses("columns of table", "'label'"):
        table(frame(), "label", test=frame()[["label"]])


def sales(n=240):
    rng = np.random.default_rng(0)
    days = pd.date_range("2023-11-05", periods=n, freq="12h")
    size = rng.normal(size=n)
    return pd.DataFrame({"day": days, "size": size, "kind": ["a", "b"] * (n // 2), "price": 3 * size + 0.5})


def test_a_regression_of_a_table():
    data = sales()
    for objective in (None, "regression", Regression()):
        source = table(data.drop(columns="day"), "price", objective=objective)
        assert source.objective == Regression()
        assert (source.classes, source.outputs, source.y.dtype) == (0, 1, torch.float32)
        assert not source.notes
        check_stream(permuted(source, 3))
    whole = data.assign(price=(data["price"] * 10).round().astype(int)).drop(columns="day")
    assert table(whole, "price").classes > 20
    assert "objective='regression'" in table(whole, "price").notes[0]
    assert table(whole, "price", objective="regression(r2)").objective == Regression(by="r2")


@pytest.mark.parametrize(
    ("setting", "own"), [("domain", [(0,)] * 2), ("joint", [(0,), (1,)]), ("task", [(0,), (1,)])]
)
def test_a_regression_by_domain_is_learned(setting, own):
    source = table(sales().drop(columns="day"), "price", domain="kind", objective="regression(r2)")
    stream = split(source, setting=setting)
    assert [task.outputs for task in stream] == own
    check_stream(stream)
    scores = compare(stream, "joint", model="mlp(hidden=8)", seeds=2, epochs=20, lr=0.05, quiet=True).scores
    assert scores["joint"].min() > 0.8


def test_a_regression_has_no_classes_to_divide(refuses):
    source = table(sales().drop(columns="day"), "price")
    with refuses("regression", "'class'"):
        split(source)
    with refuses("regression", "no classes", "`domain`"):
        split(source, setting="domain")
    with refuses("regression", "no classes", "`domain`"):
        split(source, 2, setting="domain")


@pytest.mark.parametrize(
    "form", ["%Y-%m-%d", "%Y/%m/%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", None, "date"]
)
def test_dates_become_days_and_a_note(form):
    data = sales()
    plain = table(data[["size", "kind", "price"]], "price")
    if form is not None:
        data["day"] = data["day"].dt.date if form == "date" else data["day"].dt.strftime(form)
    data.loc[3, "day"] = None
    source = table(data, "price")
    assert source.notes == ("column 'day' holds dates: it becomes a number of days",)
    # The days, whether they are missing, and the other columns.
    assert source.x.shape[1] in (plain.x.shape[1] + 1, plain.x.shape[1] + 2)
    days = torch.tensor((sales()["day"] - sales()["day"].mean()).dt.total_seconds().to_numpy())
    assert float(source.x[:, 0].min()) == pytest.approx(float(days.min() / days.std()), abs=0.2)


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("month", ["2023-11", "2023-12", "2024-01", "2024-02", "2024-03"]),
        ("quarter", ["2023-Q4", "2024-Q1"]),
        ("year", ["2023", "2024"]),
    ],
)
def test_tasks_by_the_periods_of_a_date(by, names, tmp_path):
    source = table(sales(), "kind", by=by, drop="price")
    assert list(source.domain_names) == names
    assert source.notes == ()
    sales().to_csv(tmp_path / "t.csv", index=False)
    spec = f"split-table(path={str(tmp_path / 't.csv')!r}, label=kind, by={by}, drop=price, setting=domain)"
    stream = get(spec)
    assert stream.names == names
    check_stream(stream)


def test_by_of_a_table_and_by_of_split(tmp_path, refuses):
    frame().to_csv(tmp_path / "t.csv", index=False)
    start = f"split-table(path={str(tmp_path / 't.csv')!r}, label=label, domain=site, "
    assert get(start + "by=classes, classes_per_task=1)").names == ["no", "yes"]
    assert get(start + "by=domain, setting=domain)").names == ["s0", "s1"]
    with refuses("`by` must be one of", "'week'"):
        get(start + "by=week)")


def test_two_columns_of_dates_must_be_told_apart(refuses):
    data = sales().assign(other=sales()["day"])
    with refuses("name it as `domain`", "day, other"):
        table(data, "kind", by="year")
    assert len(table(data, "kind", by="year", domain="other").domain_names) == 2


def test_texts_that_are_nearly_all_different_are_left_out():
    data = frame(60).assign(name=[f"person {i}" for i in range(60)])
    source = table(data, "label")
    assert torch.equal(source.x, table(frame(60), "label").x)
    assert source.notes[0].startswith(
        "column 'name' is left out: its texts take 60 different values in 60 rows"
    )
    assert split(source).notes == source.notes
    kept = table(data, "label", categorical=["name", "colour", "site"])
    assert kept.x.shape[1] > 40
    assert not kept.notes


def test_a_few_texts_among_numbers_are_missing_numbers():
    clean = frame().assign(age=lambda data: data["age"].astype(object))
    clean.loc[[3, 7], "age"] = [None, None]
    stray = clean.copy()
    stray.loc[[3, 7], "age"] = ["unknown", "n.a."]
    source = table(stray, "label")
    assert torch.equal(source.x, table(clean.assign(age=clean["age"].astype(float)), "label").x)
    assert "'age' holds numbers, but 2 of 40 cells hold texts, such as 'unknown'" in source.notes[0]
    half = frame().assign(age=[i if i % 2 else f"k{i % 8}" for i in range(40)])
    assert not any("numbers" in note for note in table(half, "label").notes)


def test_the_test_table_is_tidied_like_the_training_table(refuses):
    data, held = sales().astype({"size": object}), sales(20).astype({"size": object})
    data.loc[0, "size"] = "?!"
    held.loc[1, "size"] = "none"
    source = table(data, "price", test=held)
    assert source.x.shape[1] == source.x_test.shape[1]
    with refuses("'day' must hold dates", "'soon'"):
        table(data, "price", test=held.assign(day="soon"))


@pytest.mark.parametrize(
    ("values", "hint"), [("dates", "`by` makes tasks of dates"), ("names", "several rows")]
)
def test_a_domain_of_values_in_one_row_each(values, hint, refuses):
    dates = pd.date_range("2024-01-01", periods=40)
    column = dates if values == "dates" else [f"n{i}" for i in range(40)]
    frame = pd.DataFrame({"a": np.arange(40.0), "when": column, "label": [0, 1] * 20})
    with refuses("domain column 'when'", hint, "in one"):
        table(frame, "label", domain="when")
