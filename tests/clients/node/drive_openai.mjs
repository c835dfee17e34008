// What the SDK does against our address, as JSON. node drive_openai.mjs BASE_URL KEY MODEL TOOL_MODEL POOR_KEY
import OpenAI from 'openai';

const [baseURL, apiKey, model, toolModel, poorKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const messages = [{ role: 'user', content: 'Analyze this.' }];

const { data: chat, request_id: requestId } = await client.chat.completions.create({ model, messages }).withResponse();

let streamed = '';
let usage = null;
const stream = await client.chat.completions.create({
  model,
  messages,
  stream: true,
  stream_options: { include_usage: true }
});
for await (const chunk of stream) {
  streamed += chunk.choices[0]?.delta?.content ?? '';
  usage = chunk.usage ?? usage;
}

const tools = [{ type: 'function', function: { name: 'weather', parameters: { type: 'object', properties: {} } } }];
const called = await client.chat.completions.create({ model: toolModel, messages, tools });
const embedding = await client.embeddings.create({ model, input: 'one', encoding_format: 'float' });
const response = await client.responses.create({ model, input: 'Analyze' });
const models = (await client.models.list()).data.map((one) => one.id);

async function refusal(makes) {
  try {
    await makes();
    return null;
  } catch (error) {
    return [error.constructor.name, error.status, error.code, error.message.toLowerCase().includes('budget')];
  }
}
const errors = {
  key: await refusal(() => new OpenAI({ baseURL, apiKey: 'sk-wrong', maxRetries: 0 }).models.list()),
  model: await refusal(() => client.chat.completions.create({ model: 'gpt-9', messages })),
  request: await refusal(() => client.chat.completions.create({ model, messages: [] })),
  budget: await refusal(() => new OpenAI({ baseURL, apiKey: poorKey }).chat.completions.create({ model, messages }))
};

console.log(
  JSON.stringify({
    text: chat.choices[0].message.content,
    hasRequestId: Boolean(requestId),
    streamed,
    tokens: usage.total_tokens,
    tool: called.choices[0].message.tool_calls[0].function.name,
    vector: embedding.data[0].embedding,
    response: response.output_text,
    models,
    errors
  })
);
