"""The first places of the list are numbered on the map, on screens and on paper."""

import pytest


def pins(opened) -> list[tuple[str, float, float]]:
    """Number, x and y on the page of each number that is seen."""
    found = opened.page.evaluate(
        """() => [...document.querySelectorAll("#pins span")].filter((pin) => pin.checkVisibility()).map((pin) => {
            const box = pin.getBoundingClientRect();
            return [pin.textContent, box.x + box.width / 2, box.y + box.height / 2];
        })"""
    )
    return [(text, x, y) for text, x, y in found]


def assert_at(opened, row: int, col: int) -> None:
    ((x, y),) = opened.on_page((row, col))
    assert pins(opened) == [("1", pytest.approx(x, abs=1), pytest.approx(y, abs=1))]


def test_numbers_stand_where_the_places_are_and_move_with_the_view(opened):
    assert_at(opened, 100, 800)  # the one place that is wrong
    opened.page.evaluate("() => look.goTo(200, 900, 1.5)")
    opened.settle()
    assert_at(opened, 100, 800)


def test_numbers_go_with_their_layer_and_are_not_there_between_two(opened):
    page = opened.page
    for box in ("#show-errors", "#compare"):
        page.click(box)
        assert pins(opened) == []
        page.click(box)
        assert_at(opened, 100, 800)
    assert page.get_attribute("#pins", "aria-hidden") == "true"  # the list says it to those who don't see
    assert page.evaluate("() => getComputedStyle(document.querySelector('#pins span')).pointerEvents") == "none"


def test_on_paper_numbers_stay_on_their_places_and_buttons_go(opened):
    page = opened.page

    def parts() -> list[float]:
        return page.evaluate(
            """() => {
                const stage = document.querySelector(".stage").getBoundingClientRect();
                const pin = document.querySelector("#pins span").getBoundingClientRect();
                const x = pin.x + pin.width / 2 - stage.x, y = pin.y + pin.height / 2 - stage.y;
                return [x / stage.width, y / stage.height];
            }"""
        )

    on_screen = parts()
    page.emulate_media(media="print")
    assert parts() == pytest.approx(on_screen, abs=0.005)
    assert not page.is_visible("#corrections")
    page.emulate_media(media="screen")
    assert page.is_visible("#corrections")
