"""This company's own tools."""

from typing import Annotated

import kernos


@kernos.tool(effects={"reads"})
def travel_time(
    kilometres: Annotated[
        float,
        kernos.source(
            "user",
            units=["km", "公里", "kilometres"],
            question={"en": "How many kilometres is it?", "zh": "一共多少公里？"},
        ),
    ],
    speed: Annotated[
        float,
        kernos.source(
            "user", units=["km/h", "kmh"], question={"en": "How fast do you go, in km/h?", "zh": "时速多少公里？"}
        ),
    ],
) -> str:
    """Tell how long a trip takes.

    Args:
        kilometres: the distance
        speed: the speed in km/h
    """
    return f"{kilometres / speed:.1f} hours"
