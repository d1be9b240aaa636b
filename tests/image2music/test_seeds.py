from image2music.settings import picture_seed


def test_seed_of_a_picture_is_the_same_on_every_machine():
    assert picture_seed(0, "ab" * 32) == 7982405233233078354


def test_pictures_and_run_seeds_both_matter():
    assert len({picture_seed(seed, image) for seed in range(3) for image in ("a", "b")}) == 6
