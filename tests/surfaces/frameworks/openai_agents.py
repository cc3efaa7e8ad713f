"""OpenAI's Agents SDK, which speaks the Responses API."""

from agents import Agent, Runner, function_tool, set_tracing_disabled

set_tracing_disabled(True)


@function_tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


agent = Agent(name="Clerk", instructions="You add numbers.", tools=[add], model="default")
print(Runner.run_sync(agent, "What is 2 and 3?").final_output)
