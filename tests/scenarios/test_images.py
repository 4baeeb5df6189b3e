import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from perdure.scenarios import check_stream, get, split
from perdure.scenarios.sources import images, omniglot


def png(value, size=12, mode="L"):
    """A white image with a black corner whose side grows with `value`."""
    pixels = np.full((size, size), 255, dtype=np.uint8)
    pixels[: 1 + value % size, : 1 + value // size] = 0
    out = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(out, "PNG")
    return out.getvalue()


def files(groups=("Greek", "Latin"), classes=("a", "b"), each=10, mode="L"):
    names = [f"{g}/{c}/{i:02}.png" for g in groups for c in classes for i in range(each)]
    return {name: png(i, mode=mode) for i, name in enumerate(names)}


def in_folder(place, content):
    for name, data in content.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    return place


def in_zip(path, content, around=""):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(around + name, data)
    return path


def test_a_folder_and_a_zip_are_the_same(tmp_path):
    folder = in_folder(tmp_path / "same", files())
    packed = in_zip(tmp_path / "same.zip", files(), around="top/")
    first, second = split(images(folder, 8)), split(images(packed, 8))
    assert first.fingerprint() == second.fingerprint()
    assert first.names == ["Greek", "Latin"]
    assert [task.outputs for task in first] == [(0, 1), (2, 3)]
    assert first.input_shape == (1, 8, 8)
    check_stream(first)


def test_one_level_has_no_groups(tmp_path):
    content = {name.removeprefix("Greek/"): data for name, data in files(("Greek",)).items()}
    source = images(in_folder(tmp_path / "flat", content), 12)
    assert source.groups is None
    assert source.class_names == ("a", "b")
    # The first image has one black pixel: at its own size nothing is interpolated.
    assert sorted(int((255 - x.int()).sum()) for x in (*source.x, *source.x_test))[:2] == [255, 510]


def test_colour_invert_and_other_files(tmp_path):
    content = {
        **files(mode="RGB"),
        "Greek/notes.txt": b"x",
        "__MACOSX/a/b/1.png": b"x",
        "Greek/a/.2.png": b"x",
    }
    path = in_zip(tmp_path / "c.zip", content)
    source = images(path, 6, channels=3, invert=True)
    assert source.x.shape[1:] == (3, 6, 6)
    assert float(source.scale(source.x).mean()) < 0.5
    stream = get(f"rotated-images(path={str(path)!r}, size=6, tasks=2, setting='class')")
    assert stream.outputs == 8
    check_stream(stream)


def test_names_cannot_leave_the_zip(tmp_path, refuses):
    # Members are read in memory; names that point elsewhere are passed over like hidden ones.
    path = in_zip(tmp_path / "z.zip", {f"../{i % 2}/{i}.png": png(i) for i in range(20)}, around="x/")
    before = sorted(p.name for p in tmp_path.rglob("*"))
    with refuses("no images"):
        images(path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


def test_omniglot_of_a_small_file(folder):
    in_zip(folder / "omniglot_small1.zip", files(each=20), around="images_background_small1/")
    stream = get("split-omniglot(setting='task')")
    assert stream.input_shape == (1, 28, 28)
    assert stream.names == ["Greek", "Latin"]
    # Ink is 1: the paper around it is 0.
    assert float(stream[0].train.inputs()[..., -1, -1].max()) == 0.0
    check_stream(stream)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: images(p / "nowhere"), ["no folder or zip of images at"]),
        (lambda p: images(p), ["no images"]),
        (lambda p: images(in_folder(p, {"1.png": png(1)})), ["class/image", "0 folders deep"]),
        (lambda p: images(in_folder(p, {"a/1.png": png(1), "b/c/1.png": png(1)})), ["1 and 2 folders deep"]),
        (lambda p: images(in_folder(p, {"a/1.png": b"no image"})), ["cannot read the image a/1.png"]),
        (lambda p: images(in_folder(p, {"a/1.png": png(1)[:40]})), ["cannot read the image a/1.png"]),
        (lambda p: images(in_zip(p / "z.zip", {"a/1.png": png(5)[:40]})), ["z.zip"]),
        (lambda p: images(in_folder(p, files()), size=0), ["`size`"]),
        (lambda p: images(in_folder(p, files()), channels=2), ["`channels`", "2"]),
    ],
)
def test_bad_images(make, words, tmp_path, refuses):
    with refuses(*words):
        make(tmp_path)


def test_broken_zips(tmp_path, folder, refuses):
    whole = in_zip(tmp_path / "w.zip", files()).read_bytes()
    path = tmp_path / "broken.zip"
    path.write_bytes(whole[: len(whole) // 2])
    with refuses("cannot read", "broken.zip"):
        images(path)
    damaged = bytearray(whole)
    damaged[60:90] = bytes(30)
    path.write_bytes(damaged)
    with refuses("broken.zip"):
        images(path)
    with refuses("omniglot_small1.zip", "PERDURE_DATA"):
        omniglot()
    (folder / "omniglot_small1.zip").write_bytes(b"nothing")
    with refuses("omniglot_small1.zip"):
        omniglot()


def saved(pixels, ending="png", mode=None):
    """The file of an image of grey values, perhaps of another mode."""
    image = Image.fromarray(pixels)
    out = io.BytesIO()
    (image if mode is None else image.convert(mode)).save(out, Image.registered_extensions()[f".{ending}"])
    return out.getvalue()


def one_image(place, content, ending="png", **arguments):
    """What a source makes of one image: it is there often enough to be split."""
    folder = in_folder(place / "one", {f"{c}/{i}.{ending}": content for c in "ab" for i in range(5)})
    source = images(folder, 8, **arguments)
    return source, split(source, 2, val=0.3)[0].train.inputs()[0].numpy()


GREY = (np.arange(64).reshape(8, 8) * 4).astype(np.uint8)


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_scaled_by_their_range(tmp_path, ending, channels):
    deep = GREY.astype(np.uint16) * 250 + 7
    _, pixels = one_image(tmp_path, saved(deep, ending), ending, channels=channels)
    assert pixels.shape == (channels, 8, 8)
    for channel in pixels:
        np.testing.assert_allclose(channel, deep / 65535, atol=1e-7)


def test_sixteen_bits_of_the_other_order_of_bytes(tmp_path):
    deep = GREY.astype(np.uint16) * 250
    image = Image.fromarray(deep).convert("I;16B")
    out = io.BytesIO()
    image.save(out, "TIFF")
    _, pixels = one_image(tmp_path, out.getvalue(), "tif")
    np.testing.assert_allclose(pixels[0], np.asarray(image) / 65535, atol=1e-7)


def test_real_numbers_are_taken_as_they_are_or_refused(tmp_path, refuses):
    real = GREY.astype(np.float32) / 255
    _, pixels = one_image(tmp_path, saved(real, "tif"), "tif")
    np.testing.assert_array_equal(pixels[0], real)
    for bad in (real * 300, real - 1, np.full_like(real, np.nan)):
        with refuses("cannot read the image a/0.tif", "[0, 1]"):
            one_image(tmp_path, saved(bad, "tif"), "tif")


@pytest.mark.parametrize("values", [GREY.astype(np.int32) * 257, -GREY.astype(np.int32)])
def test_whole_numbers_of_32_bits_have_no_range(tmp_path, refuses, values):
    with refuses("cannot read the image", "at most 16 bits"):
        one_image(tmp_path, saved(values, "tif"), "tif")


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_modes_of_eight_bits_show_the_same(tmp_path, mode):
    ending = "tif" if mode in ("CMYK", "YCbCr") else "png"
    black_and_white = np.where(GREY > 127, 255, 0).astype(np.uint8)
    _, pixels = one_image(tmp_path, saved(black_and_white, ending, mode if mode != "CMYK" else None), ending)
    np.testing.assert_allclose(pixels[0], black_and_white / 255, atol=0.01)


def test_lab_is_refused(tmp_path, refuses):
    image = Image.merge("LAB", [Image.fromarray(GREY)] * 3)
    out = io.BytesIO()
    image.save(out, "TIFF")
    with refuses("cannot read the image"):
        one_image(tmp_path, out.getvalue(), "tif")


def test_what_is_transparent_is_laid_on_white_and_noted(tmp_path):
    layers = np.zeros((8, 8, 4), dtype=np.uint8)  # black ink, half of it transparent
    layers[:4, :, 3] = 255
    source, pixels = one_image(tmp_path, saved(layers))
    assert pixels[0, :4].max() == 0
    assert pixels[0, 4:].min() == 1
    assert "10 images are partly transparent" in source.notes[0]
    assert split(source, 2, val=0.3).notes == source.notes


def test_the_first_of_several_frames_is_read_and_noted(tmp_path):
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    out = io.BytesIO()
    frames[0].save(out, "TIFF", save_all=True, append_images=frames[1:])
    source, pixels = one_image(tmp_path, out.getvalue(), "tif")
    np.testing.assert_array_equal(pixels[0], GREY / np.float32(255))
    assert "several frames" in source.notes[0]


def parts(names, classes=("cat", "dog"), each=6, layout="{part}/{c}/{i}.png"):
    keys = [layout.format(part=p, c=c, i=i) for p in names for c in classes for i in range(each)]
    return {key: png(number) for number, key in enumerate(keys)}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("layout", ["{part}/{c}/{i}.png", "{c}/{part}/{i}.png"])
@pytest.mark.parametrize("names", [("train", "valid", "test"), ("Training", "VALIDATION", "Testing")])
def test_parts_are_parts(tmp_path, names, layout, packed):
    content = parts(names, layout=layout)
    place = in_zip(tmp_path / "p.zip", content, "top/") if packed else in_folder(tmp_path / "p", content)
    source = images(place, 12)
    assert source.class_names == ("cat", "dog")
    assert source.groups is None
    assert source.notes == ()
    stream = split(source)
    check_stream(stream)
    assert stream.names == ["cat/dog"]
    assert [len(part) for part in (stream[0].train, stream[0].val, stream[0].test)] == [12, 12, 12]
    # The number of dark pixels says which file an image is.
    for part, word in zip((stream[0].train, stream[0].val, stream[0].test), names, strict=True):
        expected = sorted(dark(data) for name, data in content.items() if f"{word}/" in name)
        assert sorted(int((x < 0.5).sum()) for x in part.inputs()) == expected


def dark(content):
    return int((np.asarray(Image.open(io.BytesIO(content)).convert("L")) < 128).sum())


def test_a_validation_part_alone_is_the_test_part_and_a_note_says_so(tmp_path):
    source = images(in_folder(tmp_path / "p", parts(("train", "val"))), 12)
    assert [len(source.y), len(source.y_test)] == [12, 12]
    assert source.validation is None
    assert "validation part is the test part" in source.notes[0]
    assert split(source).notes == source.notes
    assert get(f"permuted-images(path={str(tmp_path / 'p')!r}, size=6)").notes == source.notes


def test_parts_of_groups(tmp_path):
    content = parts(("train", "test"), layout="{part}/Greek/{c}/{i}.png")
    content |= parts(("train", "test"), layout="{part}/Latin/{c}/{i}.png")
    assert split(images(in_folder(tmp_path / "p", content), 6)).names == ["Greek", "Latin"]


def test_a_test_folder_or_zip_of_its_own(tmp_path, refuses):
    train = in_folder(tmp_path / "a", parts([""], layout="{c}/{i}.png"))
    test = in_zip(tmp_path / "b.zip", parts([""], each=3, layout="{c}/{i}.png"), "top/")
    source = images(train, 12, test=test)
    assert [len(source.y), len(source.y_test), source.groups] == [12, 6, None]
    with_val = images(in_folder(tmp_path / "v", parts(("train", "val"))), 12, test=test)
    assert [int(with_val.validation.sum()), len(with_val.y_test), with_val.notes] == [12, 6, ()]
    with refuses("has a test part"):
        images(in_folder(tmp_path / "t", parts(("train", "test"))), 12, test=test)
    with refuses("found folders of parts"):
        images(train, 12, test=tmp_path / "t")
    with refuses("'fox'", "test part"):
        images(train, 12, test=in_folder(tmp_path / "f", {"fox/1.png": png(1)}))
    with refuses("no folder or zip of test images"):
        images(train, 12, test=tmp_path / "nowhere")


def test_a_class_of_trains_is_a_class(tmp_path):
    source = images(in_folder(tmp_path / "v", parts([""], ("bus", "train"), layout="{c}/{i}.png")), 6)
    assert source.class_names == ("bus", "train")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (parts(("train", "val", "extra")), ["train, val", "'extra'"]),
        (parts(("train", "more")), ["(train)", "'more' beside"]),
        (parts(("data", "test")), ["(test)", "'data' beside"]),
        (parts(("val", "test")), ["expected a training part", "test and val alone"]),
        (parts(("train", "val"), layout="{part}/{i}{c}.png"), ["0 folders deep"]),
        ({**parts(["train"]), "val/fox/1.png": png(1)}, ["'fox'", "test part"]),
        ({**parts(["train"]), "val/1.png": png(1)}, ["0 and 1 folders deep"]),
    ],
)
def test_parts_that_do_not_fit(content, words, tmp_path, refuses):
    with refuses(*words):
        images(in_folder(tmp_path / "p", content), 6)


def test_links(tmp_path, refuses):
    place = in_folder(tmp_path / "p", parts([""], layout="{c}/{i}.png"))
    in_folder(tmp_path / "elsewhere", {f"{i}.png": png(i) for i in range(6)})
    (place / "fox").symlink_to(tmp_path / "elsewhere")
    assert images(place, 6).class_names == ("cat", "dog", "fox")
    (place / "fox" / "x.png").symlink_to(tmp_path / "nowhere")
    with refuses("x.png"):
        images(place, 6)
    (place / "fox" / "x.png").unlink()
    (place / "dog" / "back").symlink_to(place)
    with refuses("back", "link"):
        images(place, 6)


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000, "~nobody-of-this-name/x", 5, b"x"])
def test_paths_that_lead_nowhere(path, refuses):
    with refuses("path must be" if isinstance(path, int | bytes) else "folder or zip of images"):
        images(path)


def test_a_promise_of_many_bytes_is_not_believed(tmp_path, refuses, monkeypatch):
    from perdure.scenarios.sources import image_files

    monkeypatch.setattr(image_files, "LARGEST", 50)
    for place in (in_folder(tmp_path / "p", files()), in_zip(tmp_path / "z.zip", files())):
        with refuses("at most 50 bytes"):
            images(place)


def test_no_program_is_run_whatever_the_ending(tmp_path, refuses):
    with refuses("cannot read the image"):
        one_image(tmp_path, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
