"""Series drawn as blocks."""

from __future__ import annotations

import math

from modellint.report.sparkline import BLOCKS, sparkline


def test_levels_rise_with_the_numbers():
    assert sparkline(range(8)) == BLOCKS


def test_orders_of_magnitude_are_drawn_on_a_logarithmic_scale():
    assert sparkline([1, 10, 100, 1_000]) == sparkline([0, 1, 2, 3])
    assert sparkline([0.0, 1, 10, 100]) == "▁▁▅█"


def test_a_small_range_and_negative_numbers_are_linear():
    assert sparkline([1, 2, 50]) == "▁▁█"
    assert sparkline([-1_000, 0, 1_000]) == "▁▅█"


def test_what_was_not_measured_and_what_is_not_finite_is_marked():
    assert sparkline([1.0, None, math.nan, math.inf, 2.0]) == "▁·!!█"


def test_a_constant_is_level():
    assert len(set(sparkline([3.0] * 5))) == 1
    assert sparkline([0.0, 0.0]) == "▅▅"


def test_there_is_nothing_to_draw_with_fewer_than_two_numbers():
    assert sparkline([]) == sparkline([1.0]) == sparkline([1.0, math.nan, None]) == ""


def test_a_long_series_keeps_its_peaks_and_its_faults():
    series = [1.0] * 10_000
    series[4_321], series[9_999] = 1e6, math.nan
    drawn = sparkline(series, width=20)
    assert len(drawn) == 20
    assert drawn.count("█") == 1
    assert drawn.endswith("!")


def test_extremes_of_the_number_range():
    assert sparkline([5e-324, 1.7e308]) == "▁█"
    assert sparkline([-1.7e308, 1.7e308]) == "▁█"
