from nodeagent.modelserver.main import main

main()
