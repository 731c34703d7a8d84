import "./fonts.css";
import "./app.css";
import "./answer.css";
import { mount } from "svelte";
import App from "./parts/App.svelte";

mount(App, { target: document.getElementById("app")! });
