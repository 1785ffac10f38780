from lowres_d2.numbered import next_numbered


def test_a_number_is_never_taken_twice(tmp_path):
    assert next_numbered(tmp_path, "run-earlier") == tmp_path / "run-earlier1"
    for name in ("run-earlier2", "run-earlier10", "run-earlier", "run-earlier11b", "run-earlierx"):
        (tmp_path / name).touch()
    assert next_numbered(tmp_path, "run-earlier") == tmp_path / "run-earlier11"
    (tmp_path / "config-earlier4.yaml").touch()
    (tmp_path / "config-earlier7.txt").touch()
    assert next_numbered(tmp_path, "config-earlier", ".yaml") == tmp_path / "config-earlier5.yaml"
    # Names are no patterns.
    (tmp_path / "run[1]-earlier3").touch()
    assert next_numbered(tmp_path, "run[1]-earlier") == tmp_path / "run[1]-earlier4"
