from openai import OpenAI, OpenAIError

client = OpenAI(
    api_key="sk-xxx...",
    base_url="https://llm-proxy.usegittie.com"
)

try:
    response = client.chat.completions.create(
        model="gpt-3.5-turbo",
        messages=[{"role": "user", "content": "Hello"}]
    )
except OpenAIError as e:
    if "budget" in str(e).lower():
        print("Budget exhausted - add more credits!")
    elif "model" in str(e).lower():
        print("Model not allowed for your team")
    else:
        print(f"LiteLLM error: {e}")
