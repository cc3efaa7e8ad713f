"""OpenAI's HTTP API: any agent that can be pointed at another server runs on Kernos unchanged.

Read in this order: `routes` (the addresses), `chat`, `responses` and `embeddings` (what is asked, how answers look),
`fields` (what they read alike), `seats` (which process answers), `threads` (how a conversation is known again), `talk`
(employees), `stream` (answers under way).
"""

from kernos.surfaces.openai.routes import surface as surface
