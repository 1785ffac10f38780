from lowres_d2.engine.startup.labels import describe_labels


class Images(list):
    source, classes = "toys", ["a", "b", "c"]

    def __init__(self, labels, sizes=((32, 32),)):
        super().__init__(
            {"label": label, "width": w, "height": h}
            for k, label in enumerate(labels)
            for w, h in [sizes[k % len(sizes)]]
        )


def test_images_of_each_class():
    assert describe_labels(Images([0, 1, 2] * 2)) == ("6, 2 of each class, 32x32", "")
    assert describe_labels(Images([0, 1, 1, 2]))[0] == "4, 1 to 2 of each class, 32x32"


def test_a_class_without_images_is_a_warning():
    text, warning = describe_labels(Images([0, 2, 2]))
    assert text == "3, 0 to 2 of each class, 32x32"
    assert warning == "toys: 1 classes have no image (b)"


def test_a_size_is_told_only_where_all_images_have_it():
    assert describe_labels(Images([0, 1, 2], [(32, 32), (20, 30)]))[0] == "3, 1 of each class"
    assert describe_labels([{"label": 0}, {"label": 1}])[0] == "2, 1 of each class"


def test_one_class_alone_is_a_warning_where_it_is_to_be_learned():
    one = Images([1, 1])
    assert describe_labels(one)[1] == "toys: 2 classes have no image (a, c)"
    assert describe_labels(one, learned=True)[1].startswith("toys: all images are of one class (b)")
    one.classes = ["a", "b"][1:]
    for record in one:
        record["label"] = 0
    text, warning = describe_labels(one, learned=True)
    assert text == "2, 2 of each class, 32x32" and "of one class (b): there is nothing" in warning
    assert describe_labels(one)[1] == ""
    assert describe_labels(Images([0, 1, 2]), learned=True)[1] == ""
