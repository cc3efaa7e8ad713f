"""Hugging Face's smolagents, whose agent has to call a tool each time and writes its past in words of its own."""

import os

from smolagents import OpenAIServerModel, ToolCallingAgent, tool


@tool
def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: the first.
        b: the second.
    """
    return a + b


model = OpenAIServerModel("default", api_base=os.environ["OPENAI_BASE_URL"], api_key=os.environ["OPENAI_API_KEY"])
agent = ToolCallingAgent(tools=[add], model=model, verbosity_level=0)
print(agent.run("What is 2 and 3?"))
