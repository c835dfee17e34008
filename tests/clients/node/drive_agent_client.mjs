
// Comes after the guide's class, which is not exported.
const [baseUrl, teamId, virtualKey, agentType] = process.argv.slice(2);
const agents = new AgentModelClient(baseUrl, baseUrl, teamId, virtualKey);
const answer = await agents.chat(agentType, [
  { role: 'system', content: 'You are a resume analyzer.' },
  { role: 'user', content: 'Analyze this resume...' }
]);
console.log(JSON.stringify({ text: answer.choices[0].message.content, model: answer.model }));
