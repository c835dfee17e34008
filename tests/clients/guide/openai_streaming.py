from openai import OpenAI

client = OpenAI(
    api_key="sk-xxx...",
    base_url="https://llm-proxy.usegittie.com"
)

stream = client.chat.completions.create(
    model="gpt-3.5-turbo",
    messages=[{"role": "user", "content": "Tell me a story"}],
    stream=True
)

for chunk in stream:
    if chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end='')
